"""What the collector removes, what it never does, and what makes it stop."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelyard.contract.paths import COLLECTOR_STATE, blob_key, result_key
from modelyard.store import StoreError, sha256_bytes
from modelyard.store.collector import Policy, collect, verify

from .part import DAY, OLD, Part, dataset, thing

Make = Callable[[], Part]


def blobs(digests: object) -> set[str]:
    return {blob_key(one) for one in digests}  # type: ignore[attr-defined]


def test_a_dry_run_says_what_is_due_and_removes_nothing(part: Make) -> None:
    one = part()
    before = one.there()
    report = one.collect(ago=8 * DAY, delete=False)
    assert (report.due, report.due_bytes) == (0, 0), "it has not been unneeded for long"
    report = one.collect(delete=False)
    assert report.due == len(one.waste) + 1
    assert report.due_bytes > sum(map(len, one.waste.values()))
    assert (report.deleted, report.problem) == (0, "")
    assert one.there() - {COLLECTOR_STATE} == before
    assert report.blobs == len(before) - 4  # three pointers, and a file of a user


def test_what_nothing_needed_for_the_grace_period_goes(part: Make) -> None:
    one = part()
    before = one.there()
    one.collect(ago=8 * DAY)
    assert one.there() - {COLLECTOR_STATE} == before
    report = one.collect()
    gone = blobs(one.waste) | {result_key("uid-deleted")}
    assert one.there() - {COLLECTOR_STATE} == before - gone
    assert report.deleted == len(gone)
    one.check()
    assert one.collect().deleted == 0


def test_what_was_needed_again_in_between_starts_anew(part: Make) -> None:
    one = part()
    digest = next(iter(one.waste))
    one.collect(ago=20 * DAY, delete=False)
    one.objects.append(thing("ModelVersion", "back", spec={"weights": {"digest": digest}}))
    one.collect(ago=3 * DAY, delete=False)
    one.objects.pop()
    one.collect()
    assert one.store.exists(digest)


def test_a_deleted_version_is_kept_for_the_grace_period_and_then_goes(part: Make) -> None:
    one = part()
    one.collect(ago=10 * DAY)
    index, shards = dataset(one, "old")
    one.objects.append(thing("Dataset", "old", status={"digest": index}))
    one.collect(ago=9 * DAY)
    one.objects.pop()
    one.collect(ago=8 * DAY)
    assert one.store.exists(index)
    one.collect()
    assert not blobs([index, *shards]) & one.there()
    one.check()


def test_it_stops_where_the_part_belongs_to_another_namespace(part: Make) -> None:
    one = part()
    one.collect(ago=8 * DAY)

    def stranger() -> object:
        found = one.look()
        return type(found)("namespace-2", {}, frozenset(), None)

    before = one.there()
    report = collect(one.store, stranger, Policy(delete=True))  # type: ignore[arg-type]
    assert "belongs to a namespace with UID namespace-1" in report.problem
    assert one.there() == before


def test_it_stops_where_an_index_is_damaged(part: Make) -> None:
    """What a damaged index needs is not known, so nothing may go."""
    one = part()
    one.collect(ago=8 * DAY)
    index, _ = dataset(one, "broken")
    one.objects.append(thing("Dataset", "broken", status={"digest": index}))
    (one.folder / blob_key(index)).write_bytes(b"{}")
    before = one.there()
    report = one.collect()
    assert index.partition(":")[2] in report.problem
    assert one.there() == before


def test_it_stops_where_objects_cannot_be_listed(part: Make) -> None:
    one = part()
    one.collect(ago=8 * DAY)
    before = one.there()

    def fail() -> object:
        raise StoreError("the API server cannot be reached")

    with pytest.raises(StoreError):
        collect(one.store, fail, Policy(delete=True))  # type: ignore[arg-type]
    assert one.there() == before


@pytest.mark.parametrize("state", [b"", b"[]", b'{"owner": 1}', b'{"unneeded": {"a": "b"}}'])
def test_a_damaged_state_starts_the_grace_period_anew(part: Make, state: bytes) -> None:
    one = part()
    one.collect(ago=8 * DAY)
    before = one.there()
    one.store.keys.put(COLLECTOR_STATE, state)
    assert one.collect().deleted == 0
    assert one.there() == before


def test_what_is_damaged_or_missing_is_found_and_named(part: Make) -> None:
    one = part()
    assert list(verify(one.store, one.look())) == []
    index, shards = dataset(one, "shelf")
    one.objects.append(thing("Dataset", "shelf", status={"digest": index}))
    path = one.folder / blob_key(shards[0])
    path.write_bytes(path.read_bytes()[::-1])
    one.store.delete(shards[1])
    waste = next(iter(one.waste))
    (one.folder / blob_key(waste)).write_bytes(b"short")
    found = {one.digest: one for one in verify(one.store, one.look())}
    assert found.keys() == {*shards, waste}
    assert found[shards[0]].size == len(b"shelf shard 0")
    assert (found[shards[1]].size, found[shards[1]].needed_by) == (None, "Dataset shelf")
    # Publishing the dataset again mends it.
    for i in range(2):
        one.store.put_bytes(f"shelf shard {i}".encode())
    assert [one.digest for one in verify(one.store, one.look())] == [waste]


def test_a_checkpoint_of_a_finished_training_goes_with_its_training(part: Make) -> None:
    one = part()
    one.objects[:] = [o for o in one.objects if o["kind"] != "TrainingJob"]
    one.collect(ago=8 * DAY)
    one.collect()
    assert not one.store.exists(sha256_bytes(b"last.pt"))
    assert not one.store.exists(sha256_bytes(b"best.pt"))
    assert OLD > 8 * DAY
