"""`modelyard rollout`: shows a rollout, live, and steers it."""

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
    help="Watch and steer how a new version reaches the servers of a Modelyard Deployment.",
    no_args_is_help=True,
)

_POLL_SECONDS = 0.3
_DURATION = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")


Name = Annotated[str, typer.Argument(help="The Modelyard Deployment.", show_default=False)]
Patience = Annotated[
    str, typer.Option("--timeout", help="How long to wait for the operator, such as 30s or 5m.")
]


@app.command()
def status(
    name: Name,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it live until ^C.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show it live until the rollout has ended.")
    ] = False,
    timeout: Annotated[
        str | None,
        typer.Option(help="As --wait, and fail after this time: 10m.", show_default=False),
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="text or json")] = Output.TEXT,
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Show the rollout: stages, servers, figures against their bounds, failed servers, history.

    Exit code 1 if the Deployment is degraded, if the rollout that was waited for was rolled back,
    or if it did not end in time.
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
        bool, typer.Option("--full", help="Skip all pauses and analyses that are left.")
    ] = False,
    timeout: Patience = "30s",
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """End the pause that a rollout is at."""
    where = _Where(name, namespace, kubeconfig, context, timeout)
    _act(where, lambda obj: rolloutactions.promote(obj, full=full))


@app.command()
def pause(
    name: Name,
    timeout: Patience = "30s",
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Hold a rollout where it is; servers that are switching finish."""
    _act(_Where(name, namespace, kubeconfig, context, timeout), rolloutactions.pause)


@app.command()
def resume(
    name: Name,
    timeout: Patience = "30s",
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Go on with a rollout that was paused."""
    _act(_Where(name, namespace, kubeconfig, context, timeout), rolloutactions.resume)


@app.command()
def abort(
    name: Name,
    timeout: Patience = "30s",
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Stop a rollout: all servers go back to the version that served before."""
    _act(_Where(name, namespace, kubeconfig, context, timeout), rolloutactions.abort)


@app.command()
def retry(
    name: Name,
    timeout: Patience = "30s",
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Try the version again that was rolled back."""
    _act(_Where(name, namespace, kubeconfig, context, timeout), rolloutactions.retry)


@app.command()
def rollback(
    name: Name,
    version: Annotated[
        int | None,
        typer.Argument(help="Number of a Ready version; default: the one before.", min=1),
    ] = None,
    timeout: Patience = "30s",
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Go back to a version, whatever the spec asks for, until it asks for another one."""
    where = _Where(name, namespace, kubeconfig, context, timeout)

    def ask(obj: Object) -> Request:
        request = rolloutactions.rollback(obj, version)
        versions = where.cluster.objects("ModelVersion", where.namespace)
        rolloutactions.check_ready(obj, int(request.word), versions)
        return request

    _act(where, ask)


class _Where:
    """A Deployment and how long to wait for what is asked of it."""

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


def _act(where: _Where, ask: Callable[[Object], Request]) -> None:
    """Writes an action's annotation and waits until the operator has acted on it."""
    before = where.read()
    request = ask(before)
    value = request.value(datetime.now(UTC))
    note = {request.annotation: value}
    where.cluster.annotate("Deployment", where.namespace, where.name, note)
    deadline = time.monotonic() + where.seconds
    while True:
        after = where.read()
        if rolloutactions.heeded(after, request, value):
            break
        if time.monotonic() >= deadline:
            raise CliError(
                f"the operator has not answered within {where.timeout}. The annotation "
                f"{request.annotation} is set, and acts once the operator runs",
                UNREACHABLE,
            )
        time.sleep(_POLL_SECONDS)
    typer.echo(rolloutactions.came_of(request, before, after))


def _seconds(text: str) -> float:
    if not _DURATION.fullmatch(text):
        raise CliError(f"{text!r} is no length of time: write 30s, 10m or 1h30m", USAGE)
    return duration_seconds(text)


def _command(namespace: str | None) -> str:
    """How the user types an action: {} for the action, {} for the Deployment."""
    suffix = f" -n {namespace}" if namespace else ""
    return f"{options.program(sys.argv[0])} rollout {{}} {{}}{suffix}"
