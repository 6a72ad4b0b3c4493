"""Packed objects come back as they were, and are small."""

from __future__ import annotations

import hashlib

import orjson
import pytest

from modelyard.kube.packing import DICTIONARY_BYTES, GROWTH, SAMPLES, Packing


def obj(number: int, **more: object) -> bytes:
    """One of many objects that are alike."""
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    container = {"name": "main", "image": "modelyard/trainer:1", "args": ["--all"] * 10}
    metadata = {"name": f"thing-{number}", "uid": digest[:36], "labels": {"a": "b", "c": "d"}}
    spec = {"digest": digest, "containers": [container, {**container, "name": "other"}]}
    return orjson.dumps({"kind": "Job", "metadata": metadata, "spec": spec, **more})


def test_all_come_back_whatever_dictionary_they_were_packed_with() -> None:
    packing = Packing()
    count = SAMPLES * GROWTH * GROWTH + 10
    kept = [packing.pack(obj(number)) for number in range(count)]
    assert len({id(one.dictionary) for one in kept}) == 4
    assert [one.unpacked() for one in kept] == [obj(number) for number in range(count)]


def test_what_is_alike_is_small() -> None:
    packing = Packing()
    for number in range(SAMPLES):
        packing.pack(obj(number))
    sizes = [len(packing.pack(obj(number)).data) for number in range(50, 100)]
    # What differs is a digest of 32 bytes.
    assert max(sizes) < len(obj(0)) / 4


def test_later_forms_of_objects_are_learnt() -> None:
    packing = Packing()
    words = {"status": {"message": "words that no object had when it was new, such as these"}}
    for number in range(SAMPLES):
        packing.pack(obj(number))
    before = packing.pack(obj(999, **words))
    for number in range(SAMPLES * GROWTH):
        packing.pack(obj(number, **words))
    after = packing.pack(obj(999, **words))
    assert len(after.data) < len(before.data) - 40


@pytest.mark.parametrize("size", [0, 1, DICTIONARY_BYTES - 1, DICTIONARY_BYTES * 3, 2_000_000])
def test_any_size(size: int) -> None:
    packing = Packing()
    digests = (hashlib.sha256(str(n).encode()).hexdigest() for n in range(size // 64))
    big = orjson.dumps({"text": "".join(digests), "rest": "x" * (size % 64)})
    for data in (*(big,) * (SAMPLES + 2), obj(1), big):
        assert packing.pack(data).unpacked() == data
