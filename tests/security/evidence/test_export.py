"""Code in a `.pt` file against the stage that publishes what it leaves (`export`, last stage).

torch is not needed: each test is a FakeConverter, a stand-in for the process that has loaded the
weights, and does its worst in the one volume that it can write to.
"""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from modelyard.contract import exitcodes
from modelyard.contract.manifest import parse_manifest
from modelyard.contract.result import ExportResult
from modelyard.store import Store, sha256_bytes

from .conftest import ExportPod, FakeConverter, network

SECRET = b"AWS_SECRET_ACCESS_KEY=42"


def honest(outputs: Path) -> None:
    onnx.save(network(), str(outputs / "model.onnx"))


def test_what_an_honest_conversion_leaves_is_published_with_a_manifest_from_the_file(
    pod: ExportPod,
) -> None:
    honest(pod.fetched())
    pod.finish("export")
    artifact = pod.outcome().of(ExportResult).artifact
    store = pod.store_client()
    manifest = parse_manifest(store.get_bytes(artifact.manifest_digest))
    assert manifest.classes == ("cat", "dog")
    assert manifest.file.digest == artifact.digest == sha256_bytes(store.get_bytes(artifact.digest))


def test_the_isolated_stage_does_not_read_the_weights_uri(pod: ExportPod) -> None:
    digest = pod.store_client().put_bytes(b"weights")
    uri = "https://user:password@example.org/best.pt?signature=1"
    pod.fetched(weights={"digest": digest, "format": "pt", "uri": uri})
    assert pod.spec_seen()["weights"] == {"digest": digest, "format": "pt"}
    inputs = [one for one in (pod.pod / "work/inputs").rglob("*") if one.is_file()]
    assert not [one.name for one in inputs if b"password" in one.read_bytes()]


def link(outputs: Path) -> None:
    """Attack: have the publisher read its own secrets for us."""
    secret = outputs.parent.parent / "secret"
    secret.write_bytes(SECRET)
    (outputs / "model.onnx").symlink_to(secret)


def link_to_nothing(outputs: Path) -> None:
    (outputs / "model.onnx").symlink_to(outputs / "model.onnx")


def pipe(outputs: Path) -> None:
    """Attack: keep the publisher waiting for ever."""
    os.mkfifo(outputs / "model.onnx")


def folder(outputs: Path) -> None:
    (outputs / "model.onnx").mkdir()


def endless(outputs: Path) -> None:
    """Attack: a file of a terabyte, which costs nothing to make."""
    with (outputs / "model.onnx").open("wb") as file:
        file.truncate(2**40)


def nothing(outputs: Path) -> None:
    """Attack: end well and leave nothing."""


@pytest.mark.parametrize("attack", [link, link_to_nothing, pipe, folder, endless, nothing])
def test_only_a_regular_file_of_bounded_size_is_taken(
    pod: ExportPod, attack: FakeConverter
) -> None:
    attack(pod.fetched())
    before = pod.blobs()
    outcome = pod.published(exitcodes.USER_ERROR)
    assert outcome.reason == "UntrustedOutput"
    assert "model.onnx" in outcome.message
    assert pod.blobs() == before


def external(outputs: Path) -> None:
    """Attack: weights that lie in a file of whoever opens the model: here, and on every server."""
    secret = outputs.parent.parent / "secret"
    secret.write_bytes(SECRET * 1000)
    model = network()
    tensor = next(one for one in model.graph.initializer if one.name == "boxes")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")
    (outputs / "model.onnx").write_bytes(model.SerializeToString())


def external_in_a_branch(outputs: Path) -> None:
    """Attack: the same, in a constant of a subgraph."""
    model = network()
    value = TensorProto(name="hidden", data_type=TensorProto.FLOAT, dims=[1])
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value="/etc/passwd")
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=value)],
        "inner",
        [],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [1])],
    )
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    model.graph.node.extend(
        [
            helper.make_node("Constant", [], ["condition"], value=yes),
            helper.make_node("If", ["condition"], ["d"], then_branch=inner, else_branch=inner),
        ]
    )
    (outputs / "model.onnx").write_bytes(model.SerializeToString())


def compiled(outputs: Path) -> None:
    """Attack: a program for one execution provider, loaded from a path by servers that have it."""
    model = network()
    node = helper.make_node(
        "EPContext", ["images"], ["e"], domain="com.microsoft", embed_mode=0,
        ep_cache_context="/models/engine.bin",
    )  # fmt: skip
    model.graph.node.append(node)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    (outputs / "model.onnx").write_bytes(model.SerializeToString())


@pytest.mark.parametrize("attack", [external, external_in_a_branch, compiled])
def test_a_model_that_names_other_files_is_refused(pod: ExportPod, attack: FakeConverter) -> None:
    attack(pod.fetched())
    before = pod.blobs()
    outcome = pod.published(exitcodes.USER_ERROR)
    assert outcome.reason == "ExportFailed"
    assert "refers to data outside of it" in outcome.message
    assert pod.blobs() == before


CALL = "__import__('os').system('touch owned')"


@pytest.mark.parametrize(
    "metadata",
    [
        {"names": CALL},
        {"imgsz": f"[{CALL}, 64]"},
        {"args": CALL},
        {"names": "[" * 100_000},
        {"names": "-" * 1_000_000 + "1"},
        {"names": "{0: 'x', 1: '" + "y" * 5_000_000 + "'}"},
    ],
    ids=["names", "imgsz", "args", "deep", "signs", "long"],
)
def test_metadata_is_data(pod: ExportPod, metadata: dict[str, str]) -> None:
    onnx.save(network(**metadata), str(pod.fetched() / "model.onnx"))
    outcome = pod.published(exitcodes.USER_ERROR)
    assert outcome.reason == "ExportFailed"
    assert not list(pod.pod.rglob("owned"))


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x04.", os.urandom(4096), b"\x08" * 100],
    ids=["empty", "pickle", "noise", "tags"],
)
def test_bytes_that_are_no_model_are_the_files_fault(pod: ExportPod, content: bytes) -> None:
    (pod.fetched() / "model.onnx").write_bytes(content)
    outcome = pod.published(exitcodes.USER_ERROR)
    assert outcome.reason == "ExportFailed"
    assert "bug in Modelyard" not in outcome.message


def test_a_forged_result_beside_the_file_counts_for_nothing(pod: ExportPod) -> None:
    """Attack: write the outcome, the termination message and the manifest oneself."""
    outputs = pod.fetched()
    forged = '{"export": {"artifact": {"name": "onnx", "format": "onnx", "digest": "sha256:0"}}}'
    for name in ("termination-log", "outcome.json", "result.json", "manifest.json", "run.json"):
        (outputs / name).write_text(forged)
    (pod.pod / "terminationisolated").write_text(forged)
    assert pod.published(exitcodes.USER_ERROR).reason == "UntrustedOutput"


@pytest.mark.parametrize(
    "claim",
    [
        '{"reason": "Succeeded", "message": "", "code": 0}',
        '{"reason": "Succeeded", "message": "", "code": 65}',
        '{"reason": "not a reason\\u001b[2J", "message": "", "code": 65}',
        '{"reason": "R' + "r" * 70_000 + '", "message": "", "code": 65}',
        '{"reason": "Fine", "message": ["x"], "code": 65}',
        "[" * 60_000,
        "",
    ],
    ids=["success", "reason", "control", "long", "types", "deep", "empty"],
)
def test_a_claimed_failure_cannot_be_a_success_or_break_the_report(
    pod: ExportPod, claim: str
) -> None:
    outputs = pod.fetched()
    honest(outputs)
    (outputs / "failure.json").write_text(claim)
    outcome = pod.published(exitcodes.USER_ERROR)
    assert outcome.reason == "UntrustedOutput"
    assert "failure.json" in outcome.message


def test_a_claimed_failure_is_told_without_what_a_terminal_obeys(pod: ExportPod) -> None:
    text = '{"reason": "ExportFailed", "message": "a\\u001b[2Jb\\nc\\u202e", "code": 0}'
    (pod.fetched() / "failure.json").write_text(text)
    outcome = pod.published(exitcodes.INTERNAL)
    assert (outcome.reason, outcome.message) == ("ExportFailed", "a[2Jb c")


def test_a_package_in_the_working_directory_is_not_imported(pod: ExportPod) -> None:
    """Attack: replace the tools' code where a stage that shares the directory would find it."""
    honest(pod.fetched())
    for name in ("modelyard", "onnx", "sitecustomize"):
        package = pod.pod / name
        package.mkdir()
        (package / "__init__.py").write_text("open('owned', 'w').close(); raise SystemExit(0)")
    pod.finish("export")
    assert pod.outcome().of(ExportResult) is not None
    assert not list(pod.pod.rglob("owned"))


def test_a_model_that_changes_after_the_check_is_not_published(
    pod: ExportPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: swap the file between check and upload. In a pod, the attacker has ended by then;
    here the upload itself makes the swap, and what was checked is uploaded all the same."""
    outputs = pod.fetched()
    honest(outputs)
    upload = Store.put_file

    def swapping(store: Store, path: Path) -> str:
        (outputs / "model.onnx").write_bytes(
            network(names="{0: 'swapped', 1: 'x'}").SerializeToString()
        )
        return upload(store, path)

    monkeypatch.setattr(Store, "put_file", swapping)
    artifact = pod.published().of(ExportResult).artifact
    published = pod.store_client().get_bytes(artifact.digest)
    assert b"swapped" not in published
    assert b"cat" in published
