"""The Triton model repository on disk.

    <root>/digits-7-1f2e3d4c/              ensemble of one generation's steps
        config.pbtxt  generation.json  1/
    <root>/digits-7-1f2e3d4c-pipeline/     the only step, on servers that compute all in one
        config.pbtxt  1/{model.onnx, model.py, modelyard/serving/models/*.py}
    <root>/digits-7-1f2e3d4c-preprocess/   three steps, on the others
        config.pbtxt  1/{model.py, modelyard/serving/models/*.py}
    <root>/digits-7-1f2e3d4c-network/      config.pbtxt  1/model.onnx
    <root>/digits-7-1f2e3d4c-postprocess/  as the first
    <root>/digits/                         stable name: the same steps, as version 7
        config.pbtxt  7/
    <root>/digits-network/                 stable name of the bare network
    <root>/.digits.prepared                name of the prepared generation, kept loaded in addition
    <root>/.digits.offered                 names of the generations that clients could ask before

A generation is complete once generation.json is there, which is written last. A stable name
switches by the replacement of one file, config.pbtxt. So a process that dies anywhere leaves
something that the next one understands.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from modelyard.contract.manifest import ArtifactManifest
from modelyard.serving import config as configs
from modelyard.serving.models import guard
from modelyard.serving.names import (
    Generation,
    parse_generation,
    parse_model,
    pipeline_name,
    stable_names,
)
from modelyard.serving.settings import ServingSettings

STEPS = ("pipeline", "preprocess", "postprocess")
"""Folders with the code of a step."""
SHARED = "modelyard/serving/models"
"""Folder, beside a step's model.py, of the modules that steps share."""
FIGURES = "modelyard/signals/detections.py"
"""What they take from elsewhere: the figures of an answer, as evaluation computes them."""
RECORD = "generation.json"
_CHUNK = 1 << 20


class ArtifactMismatchError(ValueError):
    """The model file is not the one that the manifest describes."""


class Record(BaseModel):
    """The inputs of a generation."""

    version: int
    manifest: ArtifactManifest
    settings: ServingSettings


@dataclass(frozen=True)
class Repository:
    """The part of a Triton repository that belongs to one model line."""

    root: Path
    line: str

    def generation(
        self, version: int, manifest: ArtifactManifest, settings: ServingSettings
    ) -> Generation:
        """The generation that a version, its manifest, the settings and this pipeline's own
        code make."""
        parts = [manifest.dump(), settings.model_dump_json().encode()]
        parts += [code for step in STEPS for code in step_code(step).values()]
        digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:8]
        return Generation(self.line, version, digest)

    def write(
        self,
        generation: Generation,
        manifest: ArtifactManifest,
        model_file: Path,
        settings: ServingSettings,
    ) -> None:
        """Puts a generation's models into the repository; a complete one is left alone.

        Raises ArtifactMismatchError if the file's digest is not the manifest's, and
        config.UnservableError if the pipeline cannot serve such an artifact.
        """
        if self.record(generation) is not None:
            return
        self.remove(generation)
        models = configs.generation_configs(generation, manifest, settings)
        verify(model_file, manifest)
        for name, config in models.items():
            (self.root / name / "1").mkdir(parents=True)
            _write(self.root / name / "config.pbtxt", configs.to_text(config).encode())
        for name, step in configs.python_steps(models, generation).items():
            for path, code in step_code(step).items():
                file = self.root / name / "1" / path
                file.parent.mkdir(parents=True, exist_ok=True)
                _write(file, code)
                # A file where Python would make its cache folder. Triton takes any newer file for a
                # changed model and would load the step again with the next ensemble that uses it
                # (triton-inference-server/server#7489); its stub ignores PYTHONDONTWRITEBYTECODE.
                _write(file.parent / "__pycache__", b"")
        owner = generation.network if generation.network in models else generation.pipeline
        _link_or_copy(model_file, self.root / owner / "1" / configs.MODEL_FILES[manifest.format])
        record = Record(version=generation.version, manifest=manifest, settings=settings)
        _write(self.root / generation.name / RECORD, record.model_dump_json().encode())

    def record(self, generation: Generation) -> Record | None:
        """What a generation was made of; None if it is not complete."""
        try:
            text = (self.root / generation.name / RECORD).read_bytes()
            return Record.model_validate_json(text)
        except (OSError, ValidationError):
            return None

    def models(self, generation: Generation) -> list[str]:
        """A complete generation's models in the order to load them; the ensemble is the last."""
        record = self.record(generation)
        if record is None:
            return [*reversed(generation.models)]
        return list(configs.generation_configs(generation, record.manifest, record.settings))

    def generations(self) -> list[Generation]:
        """All generations with files in the repository, complete or not."""
        if not self.root.is_dir():
            return []
        found = (parse_model(self.line, entry.name) for entry in self.root.iterdir())
        return sorted({generation for generation in found if generation is not None})

    def remove(self, generation: Generation) -> None:
        """Remove a generation's models; the ensemble last, so that an interrupted removal is
        found."""
        for name in reversed(generation.models):
            folder = self.root / name
            (folder / RECORD).unlink(missing_ok=True)
            if folder.exists():
                shutil.rmtree(folder)

    def point(self, generation: Generation) -> list[str]:
        """Point the stable names to a complete generation. It takes effect when Triton loads them.

        Returns them in the order to load them: the pipeline last, since most clients use it, and
        a failure before it changes nothing for them.
        """
        record = self.record(generation)
        if record is None:
            raise FileNotFoundError(f"generation {generation.name} is not in the repository")
        self._keep_offered(generation)
        stable = configs.stable_configs(generation, record.manifest, record.settings)
        for name, config in stable.items():
            folder = self.root / name
            (folder / str(generation.version)).mkdir(parents=True, exist_ok=True)
            _write(folder / "config.pbtxt", configs.to_text(config).encode())
        return sorted(stable, key=lambda name: name == pipeline_name(self.line))

    def _keep_offered(self, generation: Generation) -> None:
        """Record that what clients have been offered stays so: it answers them until Triton has
        loaded the new names, and for as long as an agent that dies before leaves it so."""
        before = self.pointed()
        if before is None or before == generation:
            return
        there = {one.name for one in self.generations()}
        names = {before.name, *(self.offered() & there)}
        _write(self.root / guard.offered_file(self.line), "\n".join(sorted(names)).encode())

    def offered(self) -> set[str]:
        """Names of the generations that the stable names have led to before the current one."""
        try:
            return set((self.root / guard.offered_file(self.line)).read_text().split())
        except OSError:
            return set()

    def tidy(self, generation: Generation) -> None:
        """Remove outdated version directories of the stable names."""
        for name in stable_names(self.line):
            folder = self.root / name
            if not folder.is_dir():
                continue
            for entry in folder.iterdir():
                if entry.is_dir() and entry.name != str(generation.version):
                    shutil.rmtree(entry)

    def pointed(self) -> Generation | None:
        """The complete generation that the stable names point to on disk; None if there is none."""
        try:
            text = (self.root / pipeline_name(self.line) / "config.pbtxt").read_text()
            generation = configs.target_of(configs.from_text(text), self.line)
        except (OSError, ValueError):
            return None
        if generation is None or self.record(generation) is None:
            return None
        return generation

    def prepare(self, generation: Generation | None) -> None:
        """Record which generation is kept loaded in addition to the serving one."""
        # Not in the generation's folder, where Triton would take it for a change of the model.
        if generation is None:
            self._mark.unlink(missing_ok=True)
        else:
            _write(self._mark, generation.name.encode())

    def prepared(self) -> Generation | None:
        """The complete generation that is kept loaded in addition; None if there is none."""
        try:
            generation = parse_generation(self.line, self._mark.read_text())
        except (OSError, ValueError):
            return None
        if generation is None or self.record(generation) is None:
            return None
        return generation

    @property
    def _mark(self) -> Path:
        return self.root / f".{self.line}.prepared"


def step_code(step: str) -> dict[str, bytes]:
    """The Python files of a pipeline step by path: model.py, and the modules that steps share, in
    folders that make them importable by their own names."""
    models = importlib.resources.files("modelyard.serving") / "models"
    shared = sorted(
        (one for one in models.iterdir() if one.name.endswith(".py") and one.name != "__init__.py"),
        key=lambda one: one.name,
    )
    code = {f"{SHARED}/{one.name}": one.read_bytes() for one in shared}
    code[FIGURES] = (importlib.resources.files("modelyard") / FIGURES.split("/", 1)[1]).read_bytes()
    return {"model.py": (models / step / "model.py").read_bytes(), **code}


def verify(model_file: Path, manifest: ArtifactManifest) -> None:
    """Checks a model file's digest. Raises ArtifactMismatchError."""
    digest = hashlib.sha256()
    with model_file.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    actual = f"sha256:{digest.hexdigest()}"
    if actual != manifest.file.digest:
        raise ArtifactMismatchError(
            f"{model_file.name} has digest {actual}, but the manifest says "
            f"{manifest.file.digest}: fetch it again"
        )


def _write(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all; readable by Triton, which may be another user."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
    target.chmod(0o644)
