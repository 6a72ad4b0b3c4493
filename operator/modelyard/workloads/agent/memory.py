"""What the server served last and before, on disk: it serves that again when it starts without its
operator, and it answers which version served when.

Beside counters (traffic.py) it is the only state that an agent keeps, in the cache beside the
artifacts: whatever can be asked of Triton, the repository or the API server is asked. The file is
replaced whole, so that a power failure leaves the old one or the new one.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from modelyard.api.modelserver import Assignment, ModelServerStatus, ServedPeriod

logger = logging.getLogger(__name__)

FILE = "assignment.json"
PERIODS = 10
"""Ended periods that are kept."""


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
    history: list[ServedPeriod] = Field(default_factory=list)
    """What answered before, the latest first."""


class Memory:
    """The last served assignment of one Modelyard Deployment's server."""

    def __init__(self, folder: Path, namespace: str, deployment: str) -> None:
        self._path = folder / FILE
        self._namespace = namespace
        self._deployment = deployment
        self._remembered = self._read()
        self._adopted: list[ServedPeriod] = []
        self._before: ServedPeriod | None = None

    @property
    def served(self) -> Served | None:
        """What was served last; None if nothing was."""
        return self._remembered.served if self._remembered else None

    @property
    def previous(self) -> Assignment | None:
        """What was served before that."""
        return self._remembered.previous if self._remembered else None

    @property
    def history(self) -> list[ServedPeriod]:
        """What answered before, the latest first."""
        return self._remembered.history if self._remembered else self._adopted

    def adopt(self, status: ModelServerStatus) -> None:
        """Takes over what an earlier pod of the same server reported, unless something is
        remembered: a cache that goes with its pod does not outlive it."""
        if self._remembered is None:
            self._adopted = list(status.history or ())
            if (loaded := status.loaded) is not None:
                self._before = ServedPeriod(
                    model_version=loaded.model_version,
                    version=loaded.version,
                    digest=loaded.digest,
                    since=loaded.since,
                    until=loaded.since,
                )

    def remember(self, served: Served) -> None:
        """Keeps a version that answers now. A disk that cannot be written only costs the
        memory: it is logged."""
        last = self.served
        previous = self.previous
        if last and _own(last.assignment) != _own(served.assignment):
            previous = last.assignment
        ended = _period(last) if last else self._before
        if last and last.since == served.since:
            ended = None  # It answers all the time.
        history = self.history if ended is None else _ended(self.history, ended, served.since)
        self._remembered = Remembered(
            namespace=self._namespace,
            deployment=self._deployment,
            served=served,
            previous=previous,
            history=history,
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


def _own(one: Assignment) -> Assignment:
    """What of an assignment is this server's: the version's other artifacts are not."""
    return one.model_copy(update={"content_digest": None})


def _period(served: Served) -> ServedPeriod:
    one = served.assignment
    return ServedPeriod(
        model_version=one.model_version,
        version=one.version,
        digest=one.digest,
        since=served.since,
        until=served.since,
    )


def _ended(history: list[ServedPeriod], ended: ServedPeriod, until: str) -> list[ServedPeriod]:
    """The history with a period that ended. Interruptions of one version, such as restarts, make
    one period."""
    if history and (history[0].model_version, history[0].digest) == (
        ended.model_version,
        ended.digest,
    ):
        ended = ended.model_copy(update={"since": history[0].since})
        history = history[1:]
    return [ended.model_copy(update={"until": until}), *history][:PERIODS]


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file whole or not at all, also if the machine loses power. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
