"""`modelyard cluster`: the local cluster that developers and users keep.

Only options, tables and error texts; what the verbs do: manage.py.
"""

from __future__ import annotations

import contextlib
import enum
import json
import time
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from modelyard_local.cluster import manage
from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.progress import Progress, duration
from modelyard_local.cluster.status import ClusterStatus, age

app = typer.Typer(
    name="cluster",
    help="A Kubernetes cluster on this machine: bring it up, show its state, take it down.",
    no_args_is_help=True,
)

_INTERRUPTED = 130


class Mode(enum.StrEnum):
    """How much of a cluster."""

    FULL = "full"
    CONTROL_PLANE = "control-plane"


class Output(enum.StrEnum):
    """How `status` writes."""

    TABLE = "table"
    JSON = "json"


Name = Annotated[str, typer.Option(help="Which cluster.")]


@app.command()
def up(
    name: Name = manage.DEFAULT_NAME,
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="full: a node that runs pods (root, Debian or Ubuntu). "
            "control-plane: API server and etcd only. Default: as the last time, else full."
        ),
    ] = None,
    controller_manager: Annotated[
        bool, typer.Option(help="control-plane: also kube-controller-manager.")
    ] = False,
    scheduler: Annotated[bool, typer.Option(help="control-plane: also kube-scheduler.")] = False,
    kwok: Annotated[bool, typer.Option(help="control-plane: also KWOK, for fake nodes.")] = False,
    pod_subnet: Annotated[
        str, typer.Option(help="full: addresses of the node and its pods.")
    ] = manage.Settings.pod_subnet,
    service_subnet: Annotated[
        str, typer.Option(help="Addresses of Services.")
    ] = manage.Settings.service_subnet,
) -> None:
    """Start the cluster, or what of it is not running. Safe to repeat at any time."""
    with _errors_shown():
        wanted = None
        given = (controller_manager, scheduler, kwok)
        subnets = (pod_subnet, service_subnet)
        defaults = (manage.Settings.pod_subnet, manage.Settings.service_subnet)
        if mode or any(given) or subnets != defaults:
            kind = mode or (Mode.CONTROL_PLANE if any(given) else Mode.FULL)
            if kind is Mode.FULL and any(given):
                raise ClusterError(
                    "--controller-manager, --scheduler and --kwok belong to --mode control-plane; "
                    "a full cluster has the first two anyway"
                )
            wanted = manage.Settings(kind, *given, *subnets)
        cluster = manage.up(name, wanted, _progress())
        typer.echo(f"export KUBECONFIG={cluster.kubeconfig}")


@app.command()
def down(
    name: Name = manage.DEFAULT_NAME,
    purge: Annotated[
        bool, typer.Option(help="Also remove its data: objects, images, volumes, logs.")
    ] = False,
) -> None:
    """Stop the cluster: every process, mount, address and rule of it goes; the data stays."""
    with _errors_shown():
        cluster = manage.existing(name)
        if cluster is None:
            typer.echo(f"cluster {name}: there is none")
            return
        cluster.down(purge=purge, progress=_progress())


@app.command()
def status(
    name: Name = manage.DEFAULT_NAME,
    output: Annotated[Output, typer.Option("--output", "-o", help="table or json")] = Output.TABLE,
) -> None:
    """Show every component. Exit code 0 only if all are healthy."""
    with _errors_shown():
        cluster = manage.existing(name)
        if cluster is None:
            raise ClusterError(f"Cluster {name} does not exist: run `modelyard cluster up`")
        found = cluster.status()
        if output is Output.JSON:
            typer.echo(json.dumps(found.as_json(), indent=2))
        else:
            _print_table(found)
        if not found.healthy:
            raise typer.Exit(1)


def _print_table(found: ClusterStatus) -> None:
    table = Table("COMPONENT", "PID", "HEALTHY", "SINCE", "MESSAGE", box=None, pad_edge=False)
    for row in found.components:
        table.add_row(
            row.component,
            str(row.pid or "-"),
            "yes" if row.healthy else "[red]no[/red]",
            age(row.since) if row.since else "-",
            row.message,
        )
    console = Console()
    console.print(f"{found.name} ({found.mode})")
    console.print(table)
    # Paths are for copying: never wrapped.
    console.print(f"kubeconfig {found.kubeconfig}", soft_wrap=True)
    console.print(f"logs       {found.logs}", soft_wrap=True)


def _progress() -> Progress:
    started = time.monotonic()

    def show(line: str) -> None:
        typer.echo(f"[{duration(time.monotonic() - started):>8}] {line}", err=True)

    return show


@contextlib.contextmanager
def _errors_shown() -> Iterator[None]:
    """Turn an error that the user can act on into a message, without a traceback."""
    try:
        yield
    except ClusterError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("Interrupted; `modelyard cluster up` or `down` goes on from here", err=True)
        raise typer.Exit(_INTERRUPTED) from None
