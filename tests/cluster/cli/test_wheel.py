"""The built wheel: what is in it, and its command-line interface in a virtual environment that has
nothing else. Needs a package index."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[3]
Command = Callable[..., subprocess.CompletedProcess[str]]
IMPORT_ALL = """
import importlib, pkgutil, modelyard.cli
for module in pkgutil.walk_packages(modelyard.cli.__path__, "modelyard.cli."):
    importlib.import_module(module.name)
import tritonclient.grpc, tritonclient.http
"""
"""The clients of Triton are imported when they are used, since that takes long."""


def _pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Modelyard's wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin/ of a virtual environment with nothing but `modelyard[cli]`, from the wheel."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin/python"
    constraints = ("--constraint", ROOT / "constraints.txt")
    # Byte code is not needed for a few calls, and takes longer to write than all the rest.
    _pip("--python", python, "install", "--no-compile", *constraints, f"{wheel}[cli]")
    return folder / "bin"


@pytest.fixture
def modelyard(clean: Path, tmp_path: Path) -> Command:
    """Runs a program of that environment, outside the checkout and without its variables."""

    def run(
        *arguments: str, program: str = "modelyard", kubeconfig: Path = tmp_path / "none"
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(clean / program), *arguments],
            env={"PATH": os.defpath, "HOME": str(tmp_path), "KUBECONFIG": str(kubeconfig)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


def test_the_wheel_has_the_product_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        sources = {name: opened.read(name) for name in names if name.endswith(".py")}
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"modelyard"}
    parts = {part for name in names for part in name.split("/")}
    assert parts.isdisjoint({"cluster", "demo", "tools", "go.mod", "go.sum", "modelyard_local"})
    assert [name for name, text in sources.items() if b"modelyard_local" in text] == []
    # What is read at run time and is not Python, or not imported.
    assert {"hyperparameters.json", "preprocess", "postprocess"} <= parts


def test_version_and_help(modelyard: Command) -> None:
    version = modelyard("--version")
    assert (version.returncode, version.stderr) == (0, "")
    assert version.stdout == modelyard("version").stdout
    assert version.stdout.startswith("modelyard ")
    shown = modelyard("--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    for command in ("history", "predict", "rollout", "status", "weights"):
        assert f" {command} " in shown.stdout
    assert " demo " not in shown.stdout
    assert "Usage: kubectl modelyard" in modelyard("--help", program="kubectl-modelyard").stdout


def test_everything_that_commands_import_is_installed(modelyard: Command) -> None:
    done = modelyard("-c", IMPORT_ALL, program="python")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["cluster", "demo"])
def test_a_command_of_the_other_package_says_what_to_install(
    command: str, modelyard: Command
) -> None:
    done = modelyard(command, "up")
    assert done.returncode == 2
    assert done.stderr == (
        f"Error: `modelyard {command}` comes with the package modelyard-local, which is not "
        "installed here; in a checkout of Modelyard: pip install . ./hack/local\n"
    )


def test_without_a_cluster_it_says_so(modelyard: Command) -> None:
    done = modelyard("status")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: there is no kubeconfig")


def test_it_reads_a_cluster(crds: Any, make: Any, modelyard: Command) -> None:
    crds.kubectl("create", "namespace", "wheel")
    source = {"s3": {"bucket": "data", "key": "digits/"}}
    crds.create(make("Dataset", "digits", "wheel", {"source": source}))
    crds.set_status("datasets.modelyard.dev", "wheel", "digits", {"phase": "Valid", "images": 900})
    done = modelyard("status", "-n", "wheel", kubeconfig=crds.kubeconfig)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Dataset digits  Valid  900 images\n"
