"""`modelyard rollout` and `modelyard history` against a real API server.

No operator runs here: what it would write into status is played, `PlayedOperator`.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from modelyard.cli.kube import FieldSelectorUnsupported, connect
from modelyard.contract.naming import edge_server_name

pytestmark = pytest.mark.cluster
Command = Callable[..., subprocess.CompletedProcess[str]]
NS = "rollouts"
ACTIONS = ("promote", "pause", "resume", "abort", "retry", "rollback")
DIGEST = "sha256:" + "0123456789abcdef" * 4
WEIGHTS = "sha256:" + "ab" * 32
STARTED = "2026-11-10T10:00:00Z"


@pytest.fixture(scope="module")
def api(crds: Any) -> Any:
    """The cluster with a namespace for these tests."""
    crds.kubectl("create", "namespace", NS)
    return crds


@pytest.fixture
def modelyard(api: Any) -> Command:
    """Runs `modelyard` with the cluster's kubeconfig."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            _command(api, *arguments), capture_output=True, text=True, check=False, timeout=60
        )

    return run


def _command(api: Any, *arguments: str) -> list[str]:
    command = [sys.executable, "-m", "modelyard.cli.main", *arguments]
    return [*command, "-n", NS, "--kubeconfig", str(api.kubeconfig)]


def served(number: int) -> dict[str, Any]:
    return {
        "modelVersion": f"shelf-{number}",
        "version": number,
        "artifact": "onnx",
        "format": "onnx",
        "digest": DIGEST,
        "manifestDigest": DIGEST,
    }


def stage(step: int, target: int, done: int, **more: Any) -> dict[str, Any]:
    return {
        "revision": 2,
        "trigger": "shelf-2 is the highest Ready version",
        "startedAt": STARTED,
        "stage": "Step",
        "step": step,
        "steps": 2,
        "stageStartedAt": STARTED,
        "lastProgressAt": STARTED,
        "target": target,
        "done": done,
        **more,
    }


AT_PAUSE = stage(1, 1, 1, paused={"reason": "Step", "since": STARTED})
COUNTS = {"replicas": 4, "readyReplicas": 4, "updatedReplicas": 1}


@pytest.fixture
def cameras(api: Any, make: Any) -> Iterator[str]:
    """A Deployment that serves version 1 and waits at the pause after 25 % for version 2."""
    name = "cameras"
    spec = {
        "modelLine": "shelf",
        "target": {"edge": {"nodeSelector": {"camera": "true"}}},
        "rollout": {"steps": [{"weight": 25, "pause": {}}]},
    }
    api.create(make("Deployment", name, NS, spec))
    status = {
        "observedGeneration": 1,
        "phase": "Paused",
        "message": "waits for a promote",
        "stable": served(1),
        "candidate": served(2),
        "rollout": AT_PAUSE,
        **COUNTS,
    }
    api.set_status("mdep", NS, name, status)
    yield name
    api.kubectl("-n", NS, "delete", "mdep", name)


class PlayedOperator:
    """Waits for an action's annotation and then writes the status that an operator would."""

    def __init__(self, api: Any, name: str, action: str, status: dict[str, Any]) -> None:
        self._api, self._name, self._action, self._status = api, name, action, status
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.value = ""

    def __enter__(self) -> PlayedOperator:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._gone.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._gone.is_set() and not self.value:
            found = self._api.get("mdep", NS, self._name)["metadata"].get("annotations") or {}
            self.value = found.get(f"modelyard.dev/{self._action}", "")
            self._gone.wait(0.1)
        if self.value:
            heeded = {"actions": {self._action: self.value}}
            self._api.set_status("mdep", NS, self._name, self._status | heeded)


DONE = {
    "phase": "Healthy",
    "message": "4 of 4 servers answer with shelf-2",
    "stable": served(2),
    "candidate": None,
    "rollout": None,
    "updatedReplicas": 4,
}
BACK = {
    "phase": "Degraded",
    "message": "shelf-2 was rolled back as asked",
    "candidate": None,
    "rollout": None,
    "updatedReplicas": 4,
    "rejected": {
        "modelVersion": "shelf-2",
        "version": 2,
        "reason": "Aborted",
        "message": "as a user requested",
        "at": STARTED,
    },
}


@pytest.mark.parametrize(
    ("arguments", "action", "status", "begins", "told"),
    [
        (
            ["promote"],
            "promote",
            {"phase": "Progressing", "rollout": stage(2, 4, 1) | {"paused": None}},
            "step@20",
            "Modelyard Deployment cameras goes on: all servers, 1 of 4 servers",
        ),
        (
            ["promote", "--full"],
            "promote",
            {"rollout": stage(2, 4, 1, promoteFull=True) | {"paused": None}},
            "full@20",
            "Modelyard Deployment cameras rolls shelf-2 out to all servers without further pauses",
        ),
        (
            ["abort"],
            "abort",
            BACK,
            "abort@20",
            "Modelyard Deployment cameras goes back to shelf-1; shelf-2 is not retried",
        ),
    ],
)
def test_an_action_is_written_and_what_came_of_it_told(
    api: Any,
    modelyard: Command,
    cameras: str,
    arguments: list[str],
    action: str,
    status: dict[str, Any],
    begins: str,
    told: str,
) -> None:
    with PlayedOperator(api, cameras, action, status) as played:
        done = modelyard("rollout", arguments[0], cameras, *arguments[1:])
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout.startswith(told)
    assert played.value.startswith(begins)
    assert api.get("mdep", NS, cameras)["metadata"]["generation"] == 1


def test_pause_resume_and_retry(api: Any, modelyard: Command, cameras: str) -> None:
    api.set_status("mdep", NS, cameras, {"phase": "Progressing", "rollout": {"paused": None}})
    held = {"phase": "Paused", "rollout": {"paused": {"reason": "Requested", "since": STARTED}}}
    with PlayedOperator(api, cameras, "pause", held):
        done = modelyard("rollout", "pause", cameras)
    assert "is paused at 25 % of servers, 1 of 1 servers" in done.stdout, done.stderr
    with PlayedOperator(api, cameras, "resume", {"rollout": {"paused": None}}):
        done = modelyard("rollout", "resume", cameras)
    assert "goes on: 25 % of servers, 1 of 1 servers" in done.stdout, done.stderr
    api.set_status("mdep", NS, cameras, BACK)
    again = {"candidate": served(2), "rollout": stage(1, 1, 0), "rejected": None}
    with PlayedOperator(api, cameras, "retry", again) as played:
        done = modelyard("rollout", "retry", cameras)
    assert "retries shelf-2: 25 % of servers, 0 of 1 servers" in done.stdout, done.stderr
    assert played.value.startswith("2@")


def test_rollback(api: Any, modelyard: Command, cameras: str, version: Any) -> None:
    version(1, "Ready")
    version(3, "Rejected", message="mAP50 0.4 of onnx, at least 0.6 wanted")
    history = [
        {
            "revision": 1,
            "modelVersion": "shelf-2",
            "version": 2,
            "previous": 1,
            "trigger": "",
            "startedAt": STARTED,
            "endedAt": STARTED,
            "outcome": "Succeeded",
        }
    ]
    api.set_status("mdep", NS, cameras, DONE | {"history": history})
    done = modelyard("rollout", "rollback", cameras, "3")
    assert done.returncode == 1
    assert "shelf-3 cannot be served, it is Rejected (mAP50 0.4" in done.stderr
    assert "Ready versions: 1" in done.stderr
    done = modelyard("rollout", "rollback", cameras, "7")
    assert "model line shelf has no version 7; Ready versions: 1" in done.stderr
    assert not asked(api, cameras)
    back = {"candidate": served(1), "rollout": stage(1, 1, 0), "override": {
        "version": 1, "insteadOf": 2, "at": STARTED}}  # fmt: skip
    with PlayedOperator(api, cameras, "rollback", back) as played:
        done = modelyard("rollout", "rollback", cameras)
    assert done.stdout.startswith("Modelyard Deployment cameras goes from shelf-2 to shelf-1")
    assert re.fullmatch(r"1@20\d\d-\d\d-\d\dT[\d:.]+Z", played.value)


def asked(api: Any, name: str) -> set[str]:
    """Actions that a Deployment's annotations ask for."""
    found = api.get("mdep", NS, name)["metadata"].get("annotations") or {}
    return {action for action in ACTIONS if f"modelyard.dev/{action}" in found}


@pytest.fixture
def version(api: Any, make: Any) -> Iterator[Callable[..., None]]:
    """Makes ModelVersions of the line shelf."""
    made = []

    def create(number: int, phase: str, **status: Any) -> None:
        spec = {
            "modelLine": "shelf",
            "version": number,
            "weights": {"digest": WEIGHTS},
            "dataset": {"name": "shelf", "digest": WEIGHTS},
            "lineage": {
                "trainingJob": {"name": "november", "uid": "gone"},
                "trainerImage": "example.com/trainer:1",
            },
        }
        api.create(make("ModelVersion", f"shelf-{number}", NS, spec))
        made.append(f"shelf-{number}")
        api.set_status("mv", NS, made[-1], {"phase": phase, **status})

    yield create
    for name in made:
        api.kubectl("-n", NS, "delete", "mv", name)


def test_without_an_operator_it_says_so(api: Any, modelyard: Command, cameras: str) -> None:
    done = modelyard("rollout", "promote", cameras, "--timeout", "1s")
    assert done.returncode == 3
    assert "the operator has not answered within 1s" in done.stderr
    assert "modelyard.dev/promote is set" in done.stderr
    assert api.get("mdep", NS, cameras)["metadata"]["annotations"]["modelyard.dev/promote"]


def test_what_makes_no_sense_writes_nothing(api: Any, modelyard: Command, cameras: str) -> None:
    for arguments, told in (
        (["resume", cameras], "is at the pause of a step: `modelyard rollout promote cameras`"),
        (["retry", cameras], "nothing to retry"),
        (["abort", "nobody"], f"there is no Deployment nobody in namespace {NS}"),
    ):
        done = modelyard("rollout", *arguments)
        assert done.returncode == 1
        assert told in done.stderr
        assert done.stderr.count("\n") == 1
    assert not asked(api, cameras)


def test_status_once(api: Any, modelyard: Command, cameras: str) -> None:
    done = modelyard("rollout", "status", cameras)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("cameras  Paused  shelf-1 → shelf-2\n")
    assert f"modelyard rollout promote cameras -n {NS}   continues\n" in done.stdout
    assert "  servers          1   4      4\n" in done.stdout
    found = json.loads(modelyard("rollout", "status", cameras, "-o", "json").stdout)
    assert found["halt"]["reason"] == "Step"
    api.set_status("mdep", NS, cameras, BACK)
    done = modelyard("rollout", "status", cameras)
    assert done.returncode == 1
    assert "rolled back  shelf-2" in done.stdout


def test_waiting_for_the_end(api: Any, modelyard: Command, cameras: str) -> None:
    done = modelyard("rollout", "status", cameras, "--timeout", "500ms")
    assert done.returncode == 1
    assert "Error: the rollout of cameras has not ended within 500ms" in done.stderr
    for ending, code in ((DONE, 0), (BACK, 1)):
        going = {"phase": "Paused", "candidate": served(2), "rollout": AT_PAUSE, "rejected": None}
        api.set_status("mdep", NS, cameras, going | {"stable": served(1)})
        with _started(api, "rollout", "status", cameras, "--wait") as process:
            assert process.stdout
            first = process.stdout.readline()
            assert "cameras: Paused; shelf-1 → shelf-2; 25 % of servers 1 of 1" in first
            api.set_status("mdep", NS, cameras, ending)
            rest = process.stdout.read()
            assert process.wait(30) == code
        assert rest.count("\n") == 1, rest
        assert f"cameras: {ending['phase']}" in rest


def test_a_change_of_the_spec_is_waited_for(api: Any, modelyard: Command, cameras: str) -> None:
    api.set_status("mdep", NS, cameras, DONE)
    assert modelyard("rollout", "status", cameras, "--wait").returncode == 0
    api.kubectl("-n", NS, "patch", "mdep", cameras, "--type=merge", "-p", _pinned(2))
    assert modelyard("rollout", "status", cameras, "--timeout", "100ms").returncode == 1


def _pinned(number: int) -> str:
    return json.dumps({"spec": {"version": {"policy": "Pinned", "number": number}}})


@contextmanager
def _started(api: Any, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        _command(api, *arguments), stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def test_live_on_a_terminal(api: Any, cameras: str) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    process = subprocess.Popen(
        _command(api, "rollout", "status", cameras, "--watch"),
        stdout=theirs,
        stderr=theirs,
        env=environment,
    )
    os.close(theirs)
    try:
        _read_until(ours, "waits for a promote")
        api.set_status("mdep", NS, cameras, DONE)
        _read_until(ours, "4 of 4 servers answer with shelf-2")
        assert process.poll() is None  # --watch goes on after the end.
    finally:
        process.kill()
        process.wait(10)
        os.close(ours)


def _read_until(terminal: int, text: str) -> None:
    seen = ""
    while text not in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen):
        seen += os.read(terminal, 4096).decode(errors="replace")


@pytest.fixture
def servers(api: Any, make: Any, cameras: str) -> Iterator[list[str]]:
    """Twelve servers of cameras, the last two of which have failed."""
    uid = api.get("mdep", NS, cameras)["metadata"]["uid"]
    made = []
    for number in range(12):
        node = f"node-{number:02}"
        name = edge_server_name(cameras, node)
        spec = {
            "deployment": cameras,
            "podName": f"pod-{number}",
            "nodeName": node,
            "modelLine": "shelf",
            "assigned": served(2),
        }
        one = make("ModelServer", name, NS, spec)
        one["metadata"]["labels"] = {"modelyard.dev/owner-uid": uid}
        api.create(one)
        made.append(name)
        status: dict[str, Any] = {
            "phase": "Failed" if number >= 10 else "Ready",
            "message": f"out of memory on {node}",
            "reportedAt": "2026-11-17T10:00:00Z",
            "loaded": {
                "modelVersion": "shelf-2",
                "version": 2,
                "digest": DIGEST,
                "since": "2026-11-12T10:00:00Z",
            },
            "history": [
                {
                    "modelVersion": "shelf-1",
                    "version": 1,
                    "digest": DIGEST,
                    "since": "2026-11-01T10:00:00Z",
                    "until": "2026-11-12T09:59:59Z",
                }
            ],
        }
        api.set_status("ms", NS, name, status)
    api.set_status("mdep", NS, cameras, {"replicas": 12, "readyReplicas": 12, "failedReplicas": 2})
    yield made
    api.kubectl("-n", NS, "delete", "ms", *made)


def test_failed_servers_are_shown_and_others_are_not_read(
    api: Any, modelyard: Command, cameras: str, servers: list[str]
) -> None:
    lines = modelyard("rollout", "status", cameras).stdout.splitlines()
    at = lines.index("  failed servers")
    assert lines[at + 1 : at + 5] == [
        f"  ✘ {servers[10]}  on node-10",
        "    out of memory on node-10",
        f"  ✘ {servers[11]}  on node-11",
        "    out of memory on node-11",
    ]
    selected = api.kubectl(
        "-n", NS, "get", "ms", "--field-selector=status.phase=Failed", "-o", "name"
    )
    assert len(selected.split()) == 2


def test_fields_that_cannot_be_selected_are_told_apart(api: Any, cameras: str) -> None:
    cluster = connect(api.kubeconfig)
    assert cluster.objects("ModelServer", NS, fields="spec.nodeName=nowhere") == []
    with pytest.raises(FieldSelectorUnsupported):
        cluster.objects("ModelServer", NS, fields="spec.podName=x")


def test_the_tree_lists_failed_servers_first_and_counts_the_rest(
    api: Any, modelyard: Command, cameras: str, servers: list[str]
) -> None:
    out = modelyard("status", cameras).stdout
    assert out.splitlines()[0].startswith(
        "Deployment cameras  Paused  version 1, version 2 on 1 of 12, paused at 25 % of servers "
        "1/1, 12/12 ready, 2 failed"
    )
    assert out.count("ModelServer ") == 10
    assert "2 more servers: modelyard rollout status cameras" in out
    assert servers[10] in out
    assert servers[11] in out
    # A server that is not among those is found by its name.
    hidden = next(name for name in servers if name not in out)
    assert f"ModelServer {hidden}" in modelyard("status", hidden).stdout


def test_which_version_answered_on_a_node(
    api: Any, modelyard: Command, cameras: str, servers: list[str], version: Any
) -> None:
    artifact = {
        "name": "onnx",
        "format": "onnx",
        "digest": DIGEST,
        "manifestDigest": DIGEST,
        "sizeBytes": 1,
    }
    version(1, "Ready", artifacts=[artifact])
    asked = ("history", cameras, "--node", "node-03", "--at")
    out = modelyard(*asked, "2026-11-10T10:00:00Z").stdout.splitlines()
    assert out[0].startswith(f"{servers[3]} on node-03 at ")
    assert out[0].endswith(": shelf-1")
    told = {line.split("  ")[1].strip(): line.split("  ")[-1].strip() for line in out[1:]}
    assert told["artifact"] == DIGEST
    assert told["weights"] == WEIGHTS
    assert told["evaluated on"] == f"shelf {WEIGHTS}"
    assert told["training"] == "TrainingJob november, which no longer exists"
    assert told["code"] == "example.com/trainer:1"
    later = modelyard(*asked, "2026-11-15T10:00:00Z").stdout
    assert ": shelf-2\n" in later
    assert "ModelVersion shelf-2 no longer exists" in later
    before = modelyard(*asked, "2026-10-01T10:00:00Z").stdout
    assert ": not known\n" in before
    assert "the history begins at " in before
    (found,) = json.loads(modelyard(*asked, "2026-11-10T10:00:00Z", "-o", "json").stdout)
    assert (found["answer"]["version"], found["node"]) == (1, "node-03")


def test_what_a_node_answered_with(
    api: Any, modelyard: Command, cameras: str, servers: list[str]
) -> None:
    out = modelyard("history", cameras, "--node", "node-03").stdout.splitlines()
    assert out[0] == f"{servers[3]} on node-03"
    assert [line.split()[0] for line in out[1:]] == ["VERSION", "shelf-2", "shelf-1"]
    assert modelyard("history", cameras, "--server", servers[3]).stdout.splitlines() == out
    done = modelyard("history", cameras, "--node", "nowhere")
    assert done.returncode == 1
    lost = "has no server on node nowhere now, and the history of a server is deleted with it"
    assert lost in done.stderr


def test_history_of_rollouts(api: Any, modelyard: Command, cameras: str) -> None:
    out = modelyard("history", cameras).stdout
    assert out == "no rollout of Modelyard Deployment cameras has ended yet\n"
    record = {
        "revision": 1,
        "modelVersion": "shelf-1",
        "version": 1,
        "trigger": "shelf-1 is the highest Ready version",
        "startedAt": STARTED,
        "endedAt": "2026-11-10T11:30:00Z",
        "outcome": "Succeeded",
        "servers": 4,
    }
    api.set_status("mdep", NS, cameras, {"rollout": None, "candidate": None, "history": [record]})
    lines = modelyard("history", cameras).stdout.splitlines()
    assert lines[1].split()[:4] == ["1", "shelf-1", "-", "Succeeded"]
    assert lines[1].split()[-2:] == ["1h30m", "4"]
    assert lines[2].strip() == "shelf-1 is the highest Ready version"
    out = modelyard("history", cameras, "--at", "2026-11-12T00:00:00Z").stdout
    assert out.splitlines()[0].endswith(": shelf-1")
    assert "rollout 1 had reached all servers" in out
    assert json.loads(modelyard("history", cameras, "-o", "json").stdout)[0]["revision"] == 1
