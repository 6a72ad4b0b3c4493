"""`modelyard rollout`: status, promote, pause, resume, abort, retry, rollback.

An action is an annotation on the Deployment (`rolloutactions.py`); the command waits until the
operator has acted on it. `rolloutview.py` extracts what is shown from the status, `rolloutdraw.py`
draws it, `rolloutwatch.py` follows it.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from modelyard.api.base import duration_seconds
from modelyard.cli import options, rolloutactions
from modelyard.cli.errors import FAILED, UNREACHABLE, USAGE, CliError
from modelyard.cli.kube import Object, connect
from modelyard.cli.rolloutactions import Request
from modelyard.cli.rolloutwatch import Output, Reader, Screen, follow

app = typer.Typer(
    name="rollout",
    help="Watch and control the rollout of a Modelyard Deployment.",
    no_args_is_help=True,
)

_POLL_SECONDS = 0.3
_DURATION = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")


Name = Annotated[str, typer.Argument(help="The Modelyard Deployment.", show_default=False)]
Timeout = Annotated[
    str, typer.Option("--timeout", help="How long to wait for the operator, such as 30s or 5m.")
]


@app.command()
def status(
    name: Name,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Follow the rollout until ^C.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the rollout until it has ended.")
    ] = False,
    timeout: Annotated[
        str | None,
        typer.Option(help="Like --wait, but fail after this time: 10m.", show_default=False),
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="text or json")] = Output.TEXT,
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Show the rollout: stages, servers, metrics with their bounds, failed servers, history.

    Exit code 1 if the Deployment is degraded, or, with --wait or --timeout, if the rollout was
    rolled back or did not end in time.
    """
    seconds = None if timeout is None else _seconds(timeout)
    cluster = connect(kubeconfig, context)
    reader = Reader(cluster, namespace or cluster.namespace, name)
    screen = Screen(output, _command(namespace))
    if not (watch or wait or timeout):
        seen = reader.read()
        screen.once(seen)
        if seen.phase == "Degraded":
            raise typer.Exit(FAILED)
        return
    with screen:
        good = follow(reader, screen, until_end=wait or timeout is not None, seconds=seconds)
    if good is None:
        raise CliError(f"the rollout of {name} has not ended within {timeout}")
    if not good:
        raise typer.Exit(FAILED)


@app.command()
def promote(
    name: Name,
    full: Annotated[
        bool, typer.Option("--full", help="Skip all remaining pauses and analyses.")
    ] = False,
    timeout: Timeout = "30s",
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """End the current pause of a rollout."""
    target = _Target(name, namespace, kubeconfig, context, timeout)
    _act(target, lambda obj: rolloutactions.promote(obj, full=full))


@app.command()
def pause(
    name: Name,
    timeout: Timeout = "30s",
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Pause a rollout; servers that are switching finish."""
    _act(_Target(name, namespace, kubeconfig, context, timeout), rolloutactions.pause)


@app.command()
def resume(
    name: Name,
    timeout: Timeout = "30s",
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Resume a rollout that was paused."""
    _act(_Target(name, namespace, kubeconfig, context, timeout), rolloutactions.resume)


@app.command()
def abort(
    name: Name,
    timeout: Timeout = "30s",
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Abort a rollout: all servers go back to the stable version."""
    _act(_Target(name, namespace, kubeconfig, context, timeout), rolloutactions.abort)


@app.command()
def retry(
    name: Name,
    timeout: Timeout = "30s",
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Retry the version that was rolled back."""
    _act(_Target(name, namespace, kubeconfig, context, timeout), rolloutactions.retry)


@app.command()
def rollback(
    name: Name,
    version: Annotated[
        int | None,
        typer.Argument(help="Number of a Ready version; default: the previous one.", min=1),
    ] = None,
    timeout: Timeout = "30s",
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Roll back to a version, overriding the spec until a newer version is Ready or pinned."""
    target = _Target(name, namespace, kubeconfig, context, timeout)

    def ask(obj: Object) -> Request:
        request = rolloutactions.rollback(obj, version)
        versions = target.cluster.objects("ModelVersion", target.namespace)
        rolloutactions.check_ready(obj, int(request.argument), versions)
        return request

    _act(target, ask)


class _Target:
    """The Deployment to act on, and how long to wait for the operator."""

    def __init__(
        self,
        name: str,
        namespace: str | None,
        kubeconfig: Path | None,
        context: str | None,
        timeout: str,
    ) -> None:
        self.name, self.timeout = name, timeout
        self.seconds = _seconds(timeout)
        self.cluster = connect(kubeconfig, context)
        self.namespace = namespace or self.cluster.namespace

    def read(self) -> Object:
        return self.cluster.get("Deployment", self.namespace, self.name)


def _act(target: _Target, ask: Callable[[Object], Request]) -> None:
    """Sets the annotation and waits until the operator has acted on it."""
    before = target.read()
    request = ask(before)
    value = request.value(datetime.now(UTC))
    note = {request.annotation: value}
    target.cluster.annotate("Deployment", target.namespace, target.name, note)
    deadline = time.monotonic() + target.seconds
    while True:
        after = target.read()
        if rolloutactions.acted_on(after, request, value):
            break
        if time.monotonic() >= deadline:
            raise CliError(
                f"the operator has not answered within {target.timeout}. The annotation "
                f"{request.annotation} is set, and acts once the operator runs",
                UNREACHABLE,
            )
        time.sleep(_POLL_SECONDS)
    typer.echo(rolloutactions.result_text(request, before, after))


def _seconds(text: str) -> float:
    if not _DURATION.fullmatch(text):
        raise CliError(f"{text!r} is not a duration: write 30s, 10m or 1h30m", USAGE)
    return duration_seconds(text)


def _command(namespace: str | None) -> str:
    """The command line of an action, as a template: {} for the action, {} for the Deployment."""
    suffix = f" -n {namespace}" if namespace else ""
    return f"{options.program(sys.argv[0])} rollout {{}} {{}}{suffix}"
