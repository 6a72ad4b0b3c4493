"""`modelyard drift`: what the servers of a Deployment know about drift, with the charts of one.

    modelyard drift NAME [--server S] [--out chart.png] [-o json]
    modelyard drift accept NAME          what the servers see now is their new normal
    modelyard drift reset NAME           baselines are taken anew

States come from the ModelServers, charts from a server's agent through the API server. Pure parts:
driftview.py (text), driftdraw.py (picture).
"""

from __future__ import annotations

import enum
import json
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from modelyard.cli import driftview, options, servers
from modelyard.cli.errors import CliError
from modelyard.cli.kube import Cluster, Object, connect, name, status
from modelyard.cli.portforward import forward
from modelyard.contract.statustext import micro_timestamp

ACCEPT, RESET = "modelyard.dev/drift-accept", "modelyard.dev/drift-reset"
"""Annotations of a Deployment; the operator passes their values on, agents act once on each."""
AGENT_PORT = 8090
MAX_SERVERS = 200
"""Most servers that are read."""
_SECONDS = 20
"""How long an agent may take to answer."""


class _Group(TyperGroup):
    """`modelyard drift NAME` is `modelyard drift show NAME`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = next((one for one in args if not one.startswith("-")), None)
        if first is not None and first not in self.commands:
            args = ["show", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="drift",
    cls=_Group,
    help="Whether what the servers see has changed; accept it, or start anew.",
    no_args_is_help=True,
)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The Modelyard Deployment.", show_default=False)
]


class Output(enum.StrEnum):
    """Output formats of `drift`."""

    TEXT = "text"
    JSON = "json"


@app.command(hidden=True)
def show(
    deployment: Name,
    server: Annotated[
        str | None,
        typer.Option(help="Charts of this ModelServer; default: one that drifts, or the first."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Draw the charts here, as .png.", show_default=False)
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="text or json")] = Output.TEXT,
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Show what servers know about drift, and one server's signals against their thresholds."""
    cluster = connect(kubeconfig, context)
    obj = _read(cluster, namespace or cluster.namespace, deployment)
    found = servers.first(cluster, obj, MAX_SERVERS)
    chosen = _choose(found, server, deployment)
    charts, problem = _charts(cluster, chosen) if chosen is not None else ([], "")
    if out is not None:
        if not charts:
            raise CliError(problem or "there is no chart yet: no baseline is complete")
        from modelyard.cli import driftdraw

        driftdraw.save(charts, name(chosen) if chosen else "", out)
    if output is Output.JSON:
        typer.echo(json.dumps(driftview.as_json(obj, found, chosen, charts)))
        return
    for line in driftview.lines(obj, found, chosen, charts, datetime.now(UTC)):
        typer.echo(line)
    if problem:
        typer.echo(problem, err=True)
    if out is not None:
        typer.echo(f"charts drawn into {out}")


@app.command()
def accept(
    deployment: Name,
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Accept what drifting servers see: it is their new normal, and drift ends."""
    _annotate(ACCEPT, deployment, namespace, connect(kubeconfig, context))
    typer.echo(
        f"servers of Modelyard Deployment {deployment} that drift, or whose baseline is doubtful, "
        f"take a new one; `modelyard drift {deployment}` shows how far they are"
    )


@app.command()
def reset(
    deployment: Name,
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Forget the baselines of all servers, and take new ones."""
    _annotate(RESET, deployment, namespace, connect(kubeconfig, context))
    typer.echo(
        f"all servers of Modelyard Deployment {deployment} take new baselines, and find no drift "
        "until these are complete"
    )


def _read(cluster: Cluster, namespace: str, deployment: str) -> Object:
    """The Deployment. Raises CliError if it does not look for drift."""
    obj = cluster.get("Deployment", namespace, deployment)
    if (obj["spec"].get("monitoring") or {}).get("drift") is None:
        raise CliError(
            f"Modelyard Deployment {deployment} does not look for drift: set spec.monitoring.drift"
        )
    return obj


def _annotate(key: str, deployment: str, namespace: str | None, cluster: Cluster) -> None:
    space = namespace or cluster.namespace
    _read(cluster, space, deployment)
    value = f"all@{micro_timestamp(datetime.now(UTC))}"
    cluster.annotate("Deployment", space, deployment, {key: value})


def _choose(found: list[Object], wanted: str | None, deployment: str) -> Object | None:
    """The server whose charts are shown; None if there is no server."""
    if wanted is not None:
        for one in found:
            if wanted in (name(one), one["spec"].get("podName"), one["spec"].get("nodeName")):
                return one
        raise CliError(
            f"{wanted} is none of the first {len(found)} servers of Modelyard Deployment "
            f"{deployment}: `kubectl get modelservers` lists them"
        )
    drifting = (one for one in found if driftview.state(one) == "Drifting")
    return next(drifting, next((one for one in found if status(one).get("drift")), None))


def _charts(cluster: Cluster, server: Object) -> tuple[list[dict[str, Any]], str]:
    """Charts of a server, from its agent; or why there are none."""
    pod = str(server["spec"].get("podName") or "")
    try:
        with forward(cluster, server["metadata"]["namespace"], f"pod/{pod}", AGENT_PORT) as address:
            url = f"http://{address}/drift"
            with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
                found = json.load(answer)
    except (CliError, OSError, ValueError) as error:
        return [], f"no charts: the agent of {name(server)} (pod {pod}) does not answer: {error}"
    return list(found.get("charts") or []), ""
