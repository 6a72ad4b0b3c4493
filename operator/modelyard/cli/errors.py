"""Errors that a person can act on, and how they are told apart by exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FAILED = 1
"""What was asked for did not work."""
USAGE = 2
"""The command line is wrong; click's own code for it."""
UNREACHABLE = 3
"""The cluster, the store or a server cannot be reached; trying again may help."""
INTERRUPTED = 130


class CliError(Exception):
    """Ends a command: the message says what happened, to which object, and what to do."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def told(what: str, server: str) -> Iterator[None]:
    """Turns the Kubernetes client's errors into CliErrors. `what` is what was being done, such as
    `reading Datasets`; `server` names the cluster."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        raise CliError(f"{what}: {_explain(error)}") from error
    except (HTTPError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise CliError(
            f"{what}: the cluster at {server} cannot be reached ({one_line(reason)}); check that "
            "it runs, and which one is meant with --context or --kubeconfig",
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
    """Text without line breaks, cut to a readable length."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
