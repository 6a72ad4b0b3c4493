"""The chart as helm renders it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard_local.cluster import ensure

CHART = Path(__file__).parent.parent.parent.parent / "charts/modelyard"


class Rendered:
    """Objects by kind and name; what helm said where it refused."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.error = done.stderr if done.returncode else ""
        documents = [] if done.returncode else yaml.safe_load_all(done.stdout)
        self.objects: list[dict[str, Any]] = [one for one in documents if one]

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        """All objects of some kinds."""
        assert not self.error, self.error
        return [one for one in self.objects if one["kind"] in kinds]

    def one(self, kind: str, name: str) -> dict[str, Any]:
        """The only object of this kind and name."""
        found = [one for one in self.of(kind) if one["metadata"]["name"] == name]
        assert len(found) == 1, f"{len(found)} {kind} {name}"
        return found[0]

    def operator_env(self) -> dict[str, str]:
        """The operator's environment."""
        pod = self.one("Deployment", "modelyard-operator")["spec"]["template"]["spec"]
        return {e["name"]: e["value"] for e in pod["containers"][0]["env"] if "value" in e}


@pytest.fixture(scope="session")
def helm() -> str:
    """Path of a helm binary."""
    return str(ensure("helm"))


@pytest.fixture(scope="session")
def render(helm: str) -> Callable[..., Rendered]:
    """Renders the chart with values as release `modelyard` in `modelyard-system`."""

    def run(values: dict[str, Any] | None = None, *arguments: str) -> Rendered:
        command = [helm, "template", "modelyard", str(CHART), "--namespace", "modelyard-system"]
        command += ["--values", "-", *arguments]
        return Rendered(
            subprocess.run(
                command,
                input=json.dumps(values or {}),
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
        )

    return run


@pytest.fixture(scope="session")
def default(render: Callable[..., Rendered]) -> Rendered:
    """The chart with its own values."""
    return render()
