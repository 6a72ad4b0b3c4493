"""What the server served last, on disk: it serves it again when it starts without its operator."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from pydantic import BaseModel, ValidationError

from modelyard.api.modelserver import Assignment

logger = logging.getLogger(__name__)

FILE = "assignment.json"


class Served(BaseModel):
    """A version that answered."""

    assignment: Assignment
    generation: str
    """Name of its ensemble in Triton."""
    since: str
    """Since when it answers, RFC 3339."""


class Remembered(BaseModel):
    """The file's content."""

    namespace: str
    deployment: str
    served: Served
    previous: Assignment | None = None
    """What was served before; its artifact is kept for a rollback."""


class Memory:
    """The last served assignment of one Modelyard Deployment's server."""

    def __init__(self, folder: Path, namespace: str, deployment: str) -> None:
        self._path = folder / FILE
        self._namespace = namespace
        self._deployment = deployment
        self._remembered = self._read()

    @property
    def served(self) -> Served | None:
        """What was served last; None if nothing was."""
        return self._remembered.served if self._remembered else None

    @property
    def previous(self) -> Assignment | None:
        """What was served before that."""
        return self._remembered.previous if self._remembered else None

    def remember(self, served: Served) -> None:
        """Keeps a version that answers now. A disk that cannot be written only costs the
        memory: it is logged."""
        last = self.served
        previous = self.previous
        if last and last.assignment != served.assignment:
            previous = last.assignment
        self._remembered = Remembered(
            namespace=self._namespace,
            deployment=self._deployment,
            served=served,
            previous=previous,
        )
        try:
            write_whole(self._path, self._remembered.model_dump_json(by_alias=True))
        except OSError as error:
            logger.warning("cannot remember what is served in %s: %s", self._path, error)

    def _read(self) -> Remembered | None:
        try:
            found = Remembered.model_validate_json(self._path.read_bytes(), extra="ignore")
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            logger.warning("cannot use %s, starting without it: %s", self._path, error)
            return None
        if (found.namespace, found.deployment) != (self._namespace, self._deployment):
            logger.warning(
                "%s is of %s/%s, starting without it",
                self._path, found.namespace, found.deployment,
            )  # fmt: skip
            return None
        return found


def write_whole(path: Path, text: str) -> None:
    """Writes a file whole or not at all, also if the machine loses power. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
