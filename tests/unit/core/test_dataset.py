"""A Dataset is resolved once for each spec, and what is wrong with it is said."""

from __future__ import annotations

from modelyard.api.dataset import SplitStatus
from modelyard.contract.result import DataResult, Outcome
from modelyard.core.settings import Settings

from .world import DIGEST_A, DIGEST_B, World, condition, dataset, training


def good(digest: str = DIGEST_A) -> Outcome:
    split = SplitStatus(name="train", images=3, boxes=5)
    return Outcome(
        result=DataResult(valid=True, digest=digest, images=3, splits=[split], class_count=2)
    )


def test_is_fetched_by_one_job_and_becomes_ready_with_its_digest() -> None:
    world = World(dataset())
    world.settle("Dataset", "shelf")
    (job,) = world.of("Job")
    assert job["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    world.finish(job, good())
    shelf = world.settle("Dataset", "shelf")
    assert shelf["status"]["phase"] == "Ready"
    assert shelf["status"]["digest"] == DIGEST_A
    assert condition(shelf, "Valid")["status"] == "True"
    assert world.writes == ["create Job", "status Dataset", "status Dataset"]


def test_stays_ready_although_its_job_is_gone() -> None:
    world = World(dataset())
    world.settle("Dataset", "shelf")
    world.finish(world.of("Job")[0], good())
    world.settle("Dataset", "shelf")
    world.objects = {k: v for k, v in world.objects.items() if k[0] == "Dataset"}
    before = len(world.writes)
    assert world.settle("Dataset", "shelf")["status"]["phase"] == "Ready"
    assert len(world.writes) == before


def test_an_edited_spec_is_resolved_anew_and_old_figures_go() -> None:
    world = World(dataset())
    world.settle("Dataset", "shelf")
    world.finish(world.of("Job")[0], good())
    shelf = world.settle("Dataset", "shelf")
    shelf["spec"]["source"]["http"]["url"] += "?v=2"
    shelf["metadata"]["generation"] = 2
    shelf = world.settle("Dataset", "shelf")
    assert "digest" not in shelf["status"]
    (job,) = world.of("Job")
    world.finish(job, good(DIGEST_B))
    assert world.settle("Dataset", "shelf")["status"]["digest"] == DIGEST_B


def test_problems_make_it_invalid_and_name_the_files() -> None:
    world = World(dataset())
    world.settle("Dataset", "shelf")
    problems = ["train/a.jpg: corrupt image", "train/b.txt: class 9 of 2"]
    result = DataResult(valid=False, problems=problems, problem_count=7)
    world.finish(world.of("Job")[0], Outcome(result=result))
    shelf = world.settle("Dataset", "shelf")
    assert shelf["status"]["phase"] == "Invalid"
    valid = condition(shelf, "Valid")
    assert valid["status"] == "False"
    assert "train/a.jpg: corrupt image" in valid["message"]
    assert "7 problems" in valid["message"]
    assert "and 5 more" in valid["message"]


def test_a_failed_fetch_says_why_and_a_retry_annotation_starts_over() -> None:
    world = World(dataset())
    world.settle("Dataset", "shelf")
    world.fail(world.of("Job")[0], Outcome(reason="SourceNotFound", message="404 at https://x"))
    shelf = world.settle("Dataset", "shelf")
    assert (shelf["status"]["phase"], shelf["status"]["message"]) == ("Failed", "404 at https://x")
    assert condition(shelf, "Stalled")["reason"] == "SourceNotFound"
    first = world.of("Job")[0]["metadata"]["name"]
    shelf["metadata"]["annotations"] = {"modelyard.dev/retry": "1"}
    assert world.settle("Dataset", "shelf")["status"]["phase"] == "Fetching"
    assert [j["metadata"]["name"] for j in world.of("Job")] != [first]


def test_the_job_of_an_earlier_spec_goes_although_the_first_try_to_delete_it_failed() -> None:
    world = World(dataset())
    shelf = world.settle("Dataset", "shelf")
    (old,) = world.of("Job")
    shelf["metadata"]["annotations"] = {"modelyard.dev/retry": "1"}
    world.settle("Dataset", "shelf")
    (new,) = world.of("Job")
    world.add(old)
    world.finish(new, good())
    assert world.settle("Dataset", "shelf")["status"]["phase"] == "Ready"
    assert world.of("Job") == [new]


def test_a_result_lost_with_its_pod_is_made_again() -> None:
    world = World(dataset())
    world.settle("Dataset", "shelf")
    world.finish(world.of("Job")[0], None)
    shelf = world.settle("Dataset", "shelf")
    assert shelf["status"]["attempt"] == 1
    (job,) = world.of("Job")
    world.finish(job, good())
    assert world.settle("Dataset", "shelf")["status"]["phase"] == "Ready"


def test_an_image_that_cannot_be_pulled_is_told() -> None:
    world = World(dataset())
    world.settle("Dataset", "shelf")
    waiting = {"reason": "ImagePullBackOff", "message": "not found"}
    statuses = [{"name": "main", "image": "x/y:z", "state": {"waiting": waiting}}]
    world.pod_of(world.of("Job")[0], "Pending", containerStatuses=statuses)
    shelf = world.settle("Dataset", "shelf")
    assert "cannot pull image x/y:z: not found" in shelf["status"]["message"]


def test_names_the_trainings_that_need_it() -> None:
    world = World(dataset(), training("b"), training("a"))
    world.objects["TrainingJob", "b"]["status"] = {"phase": "Succeeded"}
    assert world.settle("Dataset", "shelf")["status"]["usedBy"] == ["TrainingJob a"]


def test_outside_prepared_namespaces_nothing_is_started() -> None:
    world = World(dataset(), settings=Settings(namespaces=("other",)))
    shelf = world.settle("Dataset", "shelf")
    assert condition(shelf, "Stalled")["reason"] == "NamespaceNotPrepared"
    assert world.of("Job") == []


def test_a_result_that_is_lost_again_and_again_is_not_tried_forever() -> None:
    world = World(dataset())
    for _ in range(4):
        world.settle("Dataset", "shelf")
        world.finish(world.of("Job")[-1], None)
    shelf = world.settle("Dataset", "shelf")
    assert (shelf["status"]["phase"], shelf["status"]["attempt"]) == ("Failed", 3)
    assert condition(shelf, "Stalled")["reason"] == "ResultLost"


def test_a_pod_that_did_not_fit_is_replaced_when_its_place_is_corrected() -> None:
    world = World(dataset())
    shelf = world.settle("Dataset", "shelf")
    before = world.of("Job")[0]["metadata"]["name"]
    shelf["spec"]["resources"] = {"memory": "2Gi"}
    shelf["metadata"]["generation"] = 2
    world.settle("Dataset", "shelf")
    (job,) = world.of("Job")
    assert job["metadata"]["name"] != before
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["memory"] == "2Gi"


def test_a_resolved_dataset_is_not_fetched_again_for_another_place() -> None:
    world = World(dataset())
    world.settle("Dataset", "shelf")
    world.finish(world.of("Job")[0], good())
    shelf = world.settle("Dataset", "shelf")
    shelf["spec"]["scheduling"] = {"nodeSelector": {"pool": "data"}}
    shelf["metadata"]["generation"] = 2
    shelf = world.settle("Dataset", "shelf")
    assert (shelf["status"]["phase"], shelf["status"]["observedGeneration"]) == ("Ready", 2)
    assert len(world.of("Job")) == 1
