"""The model repository on disk, without Triton."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from modelyard.api.pipeline import Pipeline
from modelyard.contract.manifest import ArtifactManifest
from modelyard.serving.config import (
    UnservableError,
    from_text,
    generation_configs,
    stable_configs,
    to_text,
)
from modelyard.serving.names import Generation, parse_generation, parse_model
from modelyard.serving.repository import ArtifactMismatchError, Repository
from modelyard.serving.settings import Lanes, ServingSettings

CONTENT = b"an onnx file"


def manifest(batch: int = 1, **changes: Any) -> ArtifactManifest:
    fields = {
        "format": "onnx",
        "file": {
            "name": "best.onnx",
            "digest": f"sha256:{hashlib.sha256(CONTENT).hexdigest()}",
            "sizeBytes": len(CONTENT),
        },
        "classes": ["cat", "dog"],
        "imgsz": [96, 64],
        "input": {"name": "images", "dtype": "FP32", "shape": [batch, 3, 96, 64]},
        "outputs": [{"name": "output0", "dtype": "FP32", "shape": [batch, 6, 126]}],
    }
    return ArtifactManifest.model_validate(fields | changes)


def engine(**changes: Any) -> ArtifactManifest:
    target = {"gpuProduct": "Orin", "computeCapability": "8.7", "tensorrtVersion": "10.3.0"}
    return manifest(format="tensorrt", engine=target, **changes)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "models", "digits")


def write(repository: Repository, file: Path, version: int = 7, **settings: Any) -> Generation:
    chosen = ServingSettings(**settings)
    generation = repository.generation(version, manifest(), chosen)
    repository.write(generation, manifest(), file, chosen)
    return generation


def read(repository: Repository, name: str) -> Any:
    return from_text((repository.root / name / "config.pbtxt").read_text())


def test_a_generation_is_four_models(repository, file):
    generation = write(repository, file)

    assert {p.name for p in repository.root.iterdir()} == {
        generation.name, generation.preprocess, generation.network, generation.postprocess,
    }  # fmt: skip
    network = repository.root / generation.network / "1"
    assert [p.name for p in network.iterdir()] == ["model.onnx"]
    assert (network / "model.onnx").read_bytes() == CONTENT
    steps = [s.model_name for s in read(repository, generation.name).ensemble_scheduling.step]
    assert steps == [generation.preprocess, generation.network, generation.postprocess]
    assert repository.record(generation).manifest == manifest()


def test_python_cannot_change_a_step_after_triton_loaded_it(repository, file):
    """A __pycache__ folder would look to Triton like a changed model."""
    generation = write(repository, file)

    once = write(repository, file, one_step=True)
    for name in (generation.preprocess, generation.postprocess, once.pipeline):
        folder = repository.root / name / "1"
        for code in folder.rglob("*.py"):
            assert (code.parent / "__pycache__").is_file()


def test_where_python_has_onnx_runtime_one_step_computes_all(repository, file):
    generation = write(repository, file, one_step=True, cpus=2, max_images=5)

    names = {p.name for p in repository.root.iterdir()}
    assert names == {generation.name, generation.pipeline}
    folder = repository.root / generation.pipeline / "1"
    assert (folder / "model.onnx").read_bytes() == CONTENT
    assert (folder / "modelyard/serving/models/network.py").is_file()
    (step,) = read(repository, generation.name).ensemble_scheduling.step
    assert step.model_name == generation.pipeline
    config = read(repository, generation.pipeline)
    assert [(one.name, one.optional) for one in config.input] == [("IMAGE", True), ("images", True)]
    values = {key: one.string_value for key, one in config.parameters.items()}
    assert (values["threads"], values["processes"], values["maxImages"]) == ("[2, 1]", "2", "5")
    assert config.instance_group[0].count == 2
    assert values["shapes"] == '[["FP32", [1, 6, 126]]]'
    assert repository.models(generation) == [generation.pipeline, generation.name]

    repository.point(generation)
    (step,) = read(repository, "digits-network").ensemble_scheduling.step
    assert (dict(step.input_map), dict(step.output_map)) == (
        {"images": "images"}, {"raw0": "output0"},
    )  # fmt: skip
    repository.remove(generation)
    assert repository.generations() == []


@pytest.mark.parametrize(
    ("artifact", "settings"),
    [
        pytest.param(manifest(), {"gpu": True}, id="a GPU"),
        pytest.param(manifest(), {"one_step": False}, id="ONNX Runtime in C++"),
        pytest.param(manifest(-1), {"max_delay_microseconds": 2000}, id="requests in batches"),
    ],
)
def test_elsewhere_three_steps_do(artifact, settings):
    generation = Generation("digits", 1, "0" * 8)

    configs = generation_configs(
        generation, artifact, ServingSettings(**{"one_step": True} | settings)
    )

    assert list(configs) == [
        generation.network, generation.preprocess, generation.postprocess, generation.name,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "megabytes", "wanted"),
    [
        pytest.param({"cpus": 1}, 11, Lanes(1, 1), id="one CPU"),
        pytest.param({"cpus": 2}, 11, Lanes(2, 2, narrow=1), id="a small network"),
        pytest.param({"cpus": 7}, 38, Lanes(3, 7, narrow=2), id="on some"),
        pytest.param({"cpus": 16}, 38, Lanes(4, 16, narrow=4), id="on many"),
        pytest.param({"cpus": 16}, 228, Lanes(1, 16), id="a large network"),
        pytest.param({"cpus": 8, "instances": 4}, 228, Lanes(4, 2), id="as asked for"),
        pytest.param({}, 11, Lanes(1, 0), id="CPUs that nobody told"),
    ],
)
def test_one_step_computes_small_networks_by_load(settings, megabytes, wanted):
    assert ServingSettings(**settings).lanes(megabytes * 1_000_000) == wanted


def test_settings_reach_the_configuration(repository, file):
    pipeline = Pipeline(confidence=0.4, iou=0.6, max_detections=12)
    generation = write(repository, file, pipeline=pipeline, cpus=6, instances=2)

    parameters = read(repository, generation.postprocess).parameters
    values = {key: one.string_value for key, one in parameters.items()}
    assert (values["confidence"], values["iou"], values["maxDetections"]) == ("0.4", "0.6", "12")
    assert json.loads(values["classes"]) == ["cat", "dog"]
    assert values["suppressed"] == "false"
    network = read(repository, generation.network)
    assert network.parameters["intra_op_thread_count"].string_value == "3"
    assert network.instance_group[0].count == 2
    assert read(repository, generation.preprocess).instance_group[0].count == 3


@pytest.mark.parametrize(
    ("settings", "megabytes", "copies", "threads"),
    [
        pytest.param({"cpus": 1}, 11, 1, 1, id="one CPU"),
        pytest.param({"cpus": 2}, 11, 2, 1, id="a small network on two CPUs"),
        pytest.param({"cpus": 8}, 38, 2, 4, id="on many"),
        pytest.param({"cpus": 8}, 228, 1, 8, id="a large network"),
        pytest.param({"cpus": 8, "instances": 4}, 228, 4, 2, id="as asked for"),
        pytest.param({"cpus": 8, "gpu": True}, 11, 1, 8, id="a GPU"),
        pytest.param({}, 11, 1, None, id="CPUs that nobody told"),
    ],
)
def test_small_networks_get_two_copies_on_cpus(settings, megabytes, copies, threads):
    chosen, size = ServingSettings(**settings), megabytes * 1_000_000

    assert (chosen.copies(size), chosen.threads(size)) == (copies, threads)


def test_generations_differ_by_version_settings_and_artifact(repository):
    base = repository.generation(1, manifest(), ServingSettings())

    assert repository.generation(1, manifest(), ServingSettings()) == base
    assert repository.generation(2, manifest(), ServingSettings()).name != base.name
    assert repository.generation(1, manifest(), ServingSettings(cpus=2)).name != base.name
    assert repository.generation(1, manifest(classes=["a", "b"]), ServingSettings()) != base


def test_dynamic_artifacts_are_batched():
    generation = Generation("digits", 1, "0" * 8)
    configs = generation_configs(generation, manifest(batch=-1), ServingSettings(max_batch=4))

    network = configs[generation.network]
    assert network.max_batch_size == 4
    assert network.HasField("dynamic_batching")
    assert list(network.input[0].dims) == [3, 96, 64]
    fixed = generation_configs(generation, manifest(), ServingSettings())[generation.network]
    assert fixed.max_batch_size == 0
    assert list(fixed.input[0].dims) == [1, 3, 96, 64]


def test_batches_are_formed_as_the_deployment_says_within_what_the_artifact_takes():
    generation = Generation("digits", 1, "0" * 8)
    settings = ServingSettings(max_batch=16, preferred_batches=(16, 4), max_delay_microseconds=5000)

    def batching(**changes: Any) -> tuple[int, list[int], int]:
        described = manifest(**changes)
        network = generation_configs(generation, described, settings)[generation.network]
        found = network.dynamic_batching
        return (
            network.max_batch_size,
            list(found.preferred_batch_size),
            found.max_queue_delay_microseconds,
        )

    assert batching(batch=-1) == (16, [4, 16], 5000)
    assert batching(batch=-1, maxBatch=8) == (8, [4], 5000)
    # Nothing to form: the requests of a fixed shape are computed one by one.
    assert batching(batch=1) == (0, [], 0)
    assert batching(batch=-1, maxBatch=1) == (1, [], 0)


def test_the_embedding_is_an_output_of_the_network_and_of_no_public_name():
    outputs = [
        {"name": "output0", "dtype": "FP32", "shape": [1, 6, 126]},
        {"name": "embedding", "dtype": "FP32", "shape": [1, 256]},
    ]
    described = manifest(outputs=outputs, embedding={"output": "embedding", "size": 256})
    generation = Generation("digits", 7, "1f2e3d4c")
    inner = generation_configs(generation, described, ServingSettings())
    network = inner[generation.network]
    assert [one.name for one in network.output] == ["output0", "embedding"]
    assert list(network.output[1].dims) == [1, 256]
    public = stable_configs(generation, described, ServingSettings())
    for config in (*public.values(), inner[generation.name]):
        assert "embedding" not in {one.name for one in config.output}
    # What it was before there were embeddings, to the letter.
    before = stable_configs(generation, manifest(), ServingSettings())
    assert to_text(public["digits-network"]) == to_text(before["digits-network"])
    assert list(public["digits"].output) == list(before["digits"].output)


def test_the_last_step_gets_the_embedding_for_requests_that_are_drawn():
    outputs = [
        {"name": "output0", "dtype": "FP32", "shape": [1, 6, 126]},
        {"name": "seen", "dtype": "FP32", "shape": [1, 256]},
    ]
    described = manifest(outputs=outputs, embedding={"output": "seen", "size": 256})
    generation = Generation("digits", 7, "1f2e3d4c")
    configs = generation_configs(generation, described, ServingSettings())

    (given,) = [one for one in configs[generation.postprocess].input if one.name == "embedding"]
    assert list(given.dims) == [1, 256]
    network, last = configs[generation.name].ensemble_scheduling.step[1:]
    assert network.output_map["seen"] == last.input_map["embedding"]


def test_tensorrt_engines_go_to_the_gpu_and_keep_to_their_largest_batch():
    generation = Generation("digits", 1, "0" * 8)
    settings = ServingSettings(gpu=True, max_batch=16)
    dynamic = engine(
        input={"name": "images", "dtype": "FP16", "shape": [-1, 3, 96, 64]},
        outputs=[{"name": "output0", "dtype": "FP16", "shape": [-1, 6, 126]}],
        maxBatch=4,
    )

    configs = generation_configs(generation, dynamic, settings)

    network = configs[generation.network]
    assert (network.backend, network.default_model_filename) == ("tensorrt", "model.plan")
    assert network.max_batch_size == 4
    assert "kind: KIND_GPU" in str(network.instance_group[0])
    dtype = configs[generation.preprocess].parameters["dtype"].string_value
    assert dtype == "FP16"


@pytest.mark.parametrize(
    ("described", "message"),
    [
        (engine(), "is a TensorRT engine and this server has no GPU"),
        (manifest(batch=8), "fixed batch of 8: export it with batch 1, or dynamic"),
    ],
)
def test_what_cannot_be_served_is_refused_with_a_way_out(repository, file, described, message):
    generation = repository.generation(3, described, ServingSettings())

    with pytest.raises(UnservableError, match=message):
        repository.write(generation, described, file, ServingSettings())


def test_a_wrong_file_is_refused(repository, file):
    file.write_bytes(CONTENT + b".")

    with pytest.raises(ArtifactMismatchError, match="manifest says sha256"):
        write(repository, file)


def test_stable_names_lead_to_a_generation(repository, file):
    old, new = write(repository, file, 7), write(repository, file, 8)

    assert repository.pointed() is None
    assert repository.point(old) == ["digits-network", "digits"]
    assert repository.pointed() == old
    repository.point(new)

    assert repository.pointed() == new
    config = read(repository, "digits")
    assert list(config.version_policy.specific.versions) == [8]
    assert (repository.root / "digits" / "7").is_dir()
    repository.tidy(new)
    assert sorted(p.name for p in (repository.root / "digits").iterdir()) == ["8", "config.pbtxt"]


def test_what_clients_could_ask_is_noted_before_the_names_lead_elsewhere(repository, file):
    one, two, three = (write(repository, file, version) for version in (7, 8, 9))
    repository.point(one)
    assert repository.offered() == set()
    repository.point(two)
    repository.point(two)
    assert repository.offered() == {one.name}
    repository.point(three)
    assert repository.offered() == {one.name, two.name}
    repository.remove(one)
    repository.point(two)
    assert repository.offered() == {two.name, three.name}


def test_an_interrupted_write_is_done_again(repository, file):
    generation = write(repository, file)
    (repository.root / generation.name / "generation.json").unlink()
    model = repository.root / generation.network / "1" / "model.onnx"
    model.unlink()
    assert repository.generations() == [generation]
    assert repository.record(generation) is None

    write(repository, file)

    assert model.read_bytes() == CONTENT


def test_removing_leaves_nothing_and_the_source_file_alone(repository, file):
    generation = write(repository, file)

    repository.remove(generation)

    assert list(repository.root.iterdir()) == []
    assert file.read_bytes() == CONTENT
    repository.remove(generation)


def test_names_of_other_lines_are_not_taken_for_ours():
    generation = Generation("digits", 7, "1f2e3d4c")

    assert parse_generation("digits", generation.name) == generation
    assert all(parse_model("digits", name) == generation for name in generation.models)
    for name in ("digits", "digits-network", "digits-7", "digits-x-1f2e3d4c", "other-7-1f2e3d4c"):
        assert parse_model("digits", name) is None
    assert parse_model("digit", generation.name) is None
