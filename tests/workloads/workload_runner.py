"""Workloads run as their pods run them, with a directory as the store."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.contract.result import DataResult, Outcome

STAGED = ("export", "evaluate")
"""Workloads whose pods have stages before the last one (core/stages.py)."""
STORELESS = ("isolated", "judge")
"""Stages without credentials, which have the run spec from `inputs`."""
OBJECT = {"namespace": "test", "name": "shapes", "uid": "u-1"}


@dataclass
class WorkloadRunner:
    """A store and the workloads that use it."""

    folder: Path
    cpus: int = 1
    """CPU limit of the pods."""
    dataset: str = ""
    """Digest of the dataset that `publish` has published last."""
    runs: int = 0
    logs: list[Path] = field(default_factory=list)

    @property
    def store(self) -> dict[str, str]:
        return {"url": f"file://{self.folder}/store"}

    def start(
        self, module: str, run: dict[str, Any], **environment: str
    ) -> subprocess.Popen[bytes]:
        """The pod's process, its log in `logs[-1]`, with a scratch directory of its own."""
        self.new_pod(run)
        return self.stage(module, **environment)

    def new_pod(self, run: dict[str, Any]) -> Path:
        """The folder of a new pod, with its run spec and the volumes between its stages."""
        self.runs += 1
        pod = self.folder / f"pod{self.runs}"
        for volume in ("inputs", "labels", "outputs", "judged"):
            (pod / "work" / volume).mkdir(parents=True)
        (pod / "run.json").write_text(
            json.dumps({"object": OBJECT, "store": self.store, "cpuLimit": self.cpus, **run})
        )
        self.logs.append(pod / "log")
        return pod

    def stage(self, module: str, name: str = "", **environment: str) -> subprocess.Popen[bytes]:
        """One container of the last pod: `name` is a stage, or nothing for the last one."""
        pod = self.logs[-1].parent
        settings = os.environ | {
            "MODELYARD_RUN": str(pod / ("work/inputs" if name in STORELESS else "") / "run.json"),
            "MODELYARD_TERMINATION_LOG": str(pod / f"termination{name}"),
            "MODELYARD_SCRATCH": str(pod / f"scratch{name}"),
            "MODELYARD_WORK": str(pod / "work"),
            "MODELYARD_SOURCE": str(self.folder / "source"),
            "POD_NAME": f"pod-{self.runs}",
            **environment,
        }
        settings.pop("KUBERNETES_SERVICE_HOST", None)
        arguments = [name] if name else []
        with self.logs[-1].open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", f"modelyard.workloads.{module}", *arguments],
                env=settings, stdout=log, stderr=log, cwd=pod,
                start_new_session=True,
            )  # fmt: skip

    def outcome(self) -> Outcome:
        return Outcome.model_validate_json((self.logs[-1].parent / "termination").read_text())

    def run(self, module: str, run: dict[str, Any], code: int = 0, **environment: str) -> Outcome:
        """Run a pod to the end, stage by stage; its exit code must be `code`."""
        self.new_pod(run)
        if module in STAGED:
            self.finish(module, "fetch", **environment)
            if run["weights"].get("format", "pt") == "pt":
                self.finish(module, "isolated", **environment)
            if module == "evaluate":
                self.finish(module, "judge", **environment)
        self.finish(module, code=code, **environment)
        return self.outcome()

    def finish(self, module: str, name: str = "", code: int = 0, **environment: str) -> None:
        """Run one container of the last pod to its end."""
        process = self.stage(module, name, **environment)
        try:
            found = process.wait(timeout=280)
        finally:
            self.end(process, signal.SIGKILL)
        assert found == code, self.log()

    def log(self) -> str:
        return self.logs[-1].read_text(errors="replace")

    def until_log(self, text: str, process: subprocess.Popen[bytes]) -> None:
        self.until(lambda: text in self.log(), process)

    def until(
        self, done: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 240
    ) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def end(self, process: subprocess.Popen[bytes], how: signal.Signals) -> int:
        """SIGTERM as a kubelet sends it, to the pod's first process; SIGKILL ends all of them."""
        with contextlib.suppress(ProcessLookupError):
            if how == signal.SIGKILL:
                os.killpg(process.pid, how)
            else:
                process.send_signal(how)
        return process.wait(timeout=60)

    def publish(self) -> str:
        """Have the files in `folder/source` checked and published; returns the digest."""
        claim = {"pvc": {"claimName": "source", "path": ""}}
        run = {"kind": "data", "source": claim, "dataFile": "data.yaml", "quality": {}}
        result = self.run("data", run).of(DataResult)
        assert result is not None
        assert result.valid, result.problems
        self.dataset = str(result.digest)
        return self.dataset
