"""What one stage of a Job's pod leaves for the next: files in shared volumes, and its failure.

A pod that handles `.pt` files has three stages, each a container (core/stages.py): `fetch` moves
bytes and has the store's credentials, an isolated stage loads the weights and has nothing, and
`main` checks, judges and reports. Only `main`'s termination message counts, so an earlier stage
that fails ends well and leaves its failure as a file, which `main` reports.

What the isolated stage has written is hostile until checked: any bytes, links to other places,
pipes that never end, files of any size. Every reader goes through `take_bytes` or `take_file`.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pydantic import Field, ValidationError

from modelyard.api.base import StatusModel
from modelyard.contract import exitcodes, paths
from modelyard.contract.statustext import truncate
from modelyard.workloads.errors import StageFailed, UserError

UNTRUSTED_OUTPUT = "UntrustedOutput"
MAX_FAILURE_BYTES = 64 * 1024
_FAILURE = "failure.json"
_CHUNK = 8 * 1024 * 1024
_REASON = re.compile(r"[A-Z][A-Za-z0-9]{2,63}")
_CODES = (exitcodes.USER_ERROR, exitcodes.INTERNAL, exitcodes.RETRYABLE)


class _Failure(StatusModel):
    """The file of a stage that failed."""

    reason: str = Field(max_length=64)
    message: str = Field(max_length=MAX_FAILURE_BYTES)
    code: int


def leave_failure(folder: Path, *, reason: str, message: str, code: int) -> None:
    """Leave a failure in a stage's volume."""
    failure = _Failure(reason=reason, message=truncate(message), code=code)
    (folder / _FAILURE).write_text(failure.model_dump_json(), encoding="utf-8")


def failed(folder: Path) -> bool:
    """Whether a stage has left a failure in its volume."""
    return os.path.lexists(folder / _FAILURE)


def raise_failure(work: Path) -> None:
    """Raises StageFailed if an earlier stage has left a failure in one of the volumes.

    The isolated stage can write anything there. It can so fail its own version with words of its
    own, which a wrong file can anyway; it cannot succeed.
    """
    for volume in (paths.INPUTS, paths.OUTPUTS, paths.JUDGED):
        folder = work / volume
        if not failed(folder):
            continue
        try:
            found = _Failure.model_validate_json(take_bytes(folder / _FAILURE, MAX_FAILURE_BYTES))
        except ValidationError as error:
            raise _not_ours(folder / _FAILURE, "it does not describe a failure") from error
        if not _REASON.fullmatch(found.reason) or found.reason == "Succeeded":
            raise _not_ours(folder / _FAILURE, "it does not describe a failure")
        code = found.code if found.code in _CODES else exitcodes.INTERNAL
        raise StageFailed(found.reason, truncate(printable(found.message)), code)


def take_bytes(path: Path, limit: int) -> bytes:
    """The content of an untrusted file.

    Raises UserError UntrustedOutput if it is missing, no regular file (a link included), or larger
    than `limit` bytes.
    """
    with _opened(path, limit) as stream:
        content = stream.read(limit + 1)
    _bound(path, len(content), limit)
    return content


def take_file(path: Path, destination: Path, limit: int) -> Path:
    """A copy of an untrusted file that nobody else can change; returns `destination`.

    Raises UserError UntrustedOutput, as `take_bytes` does.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    with _opened(path, limit) as stream, destination.open("xb") as copy:
        size = 0
        while piece := stream.read(_CHUNK):
            size += len(piece)
            _bound(path, size, limit)
            copy.write(piece)
    return destination


def printable(text: str) -> str:
    """The text on one line, without characters that a terminal or a log would obey."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())


@contextlib.contextmanager
def _opened(path: Path, limit: int) -> Iterator[BinaryIO]:
    # O_NOFOLLOW: no link to the reader's own files. O_NONBLOCK: opening a pipe does not wait.
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _not_ours(path, error.strerror or str(error)) from error
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        raise _not_ours(path, "it is no regular file")
    with os.fdopen(handle, "rb") as stream:
        _bound(path, found.st_size, limit)
        yield stream


def _bound(path: Path, size: int, limit: int) -> None:
    if size > limit:
        raise _not_ours(path, f"it is larger than {limit} bytes")


def _not_ours(path: Path, why: str) -> UserError:
    return UserError(
        UNTRUSTED_OUTPUT,
        f"the process that loaded the weights left no usable {path.name} ({why}): the pod's log of "
        "that container says what the weights did; use weights from a source that you trust",
    )
