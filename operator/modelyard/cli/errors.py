"""Errors that the user can act on, and their exit codes.

Every command raises CliError for them; `main.py` prints one line and exits with the code. Any other
exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FAILED = 1
"""The command failed."""
USAGE = 2
"""Invalid command line; the same code as click uses."""
UNREACHABLE = 3
"""The cluster, the store or a server cannot be reached; a retry may help."""
INTERRUPTED = 130


class CliError(Exception):
    """Ends a command: the message says what happened, to which object, and what to do."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def api_errors(doing: str, server: str) -> Iterator[None]:
    """Converts the Kubernetes client's errors into CliErrors. `doing` describes the operation, such
    as `reading Datasets`; `server` is the API server's URL."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise CliError(f"{doing}: {_explain(error)}") from error
    except (HTTPError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise CliError(
            f"{doing}: the cluster at {server} cannot be reached ({one_line(reason)}); check that "
            "it is running, or select another one with --context or --kubeconfig",
            UNREACHABLE,
        ) from error


def _explain(error: Any) -> str:
    try:
        message = str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        message = one_line(error.body or error.reason or "")
    if error.status == 401:
        return "the cluster does not accept the credentials of this kubeconfig: log in again"
    return message or f"the cluster answered {error.status}"


def one_line(text: object, limit: int = 300) -> str:
    """Text on one line, truncated to `limit` characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
