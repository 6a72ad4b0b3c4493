"""`modelyard history`: rollouts that have ended, and which version served where and when.

Reads `status.history` of the Deployment and of its ModelServers. `rollouthistory.py` has the pure
functions that answer "which version, when".
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from modelyard.cli import options, rollouthistory, servers, times
from modelyard.cli.errors import USAGE, CliError, one_line
from modelyard.cli.kube import Cluster, Object, connect, name, status
from modelyard.cli.rolloutdraw import OUTCOMES
from modelyard.contract.naming import edge_server_name, version_name


class Output(enum.StrEnum):
    """Output formats of `history`."""

    TEXT = "text"
    JSON = "json"


def history(
    deployment: Annotated[
        str, typer.Argument(metavar="NAME", help="The Modelyard Deployment.", show_default=False)
    ],
    node: Annotated[
        str | None, typer.Option(help="Versions served on this node.", show_default=False)
    ] = None,
    server: Annotated[
        str | None, typer.Option(help="Versions served by this ModelServer.", show_default=False)
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(help="Version served at this time: 2026-11-17T10:00.", show_default=False),
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="text or json")] = Output.TEXT,
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Show the rollouts that have ended; for a node or server, which versions it served when.

    With --at, show the version that was served at that time, with its digest and, while the
    ModelVersion exists, its data, code and weights.
    """
    if node and server:
        raise CliError("choose either --node or --server", USAGE)
    when = times.parse_user_time(at) if at else None
    if when is not None and when > datetime.now(UTC):
        raise CliError(f"{times.local(when)} is in the future", USAGE)
    cluster = connect(kubeconfig, context)
    obj = cluster.get("Deployment", namespace or cluster.namespace, deployment)
    if node or server:
        found = _servers(cluster, obj, node, server)
        if when is None:
            _show_periods(found, output)
        else:
            _show(output, [_server_at(cluster, one, when) for one in found])
    elif when is None:
        _show_rollouts(obj, output)
    else:
        _show(output, [_deployment_at(cluster, obj, when)])


def _servers(cluster: Cluster, obj: Object, node: str | None, server: str | None) -> list[Object]:
    """The selected ModelServers. Raises CliError if there are none."""
    namespace, owner = obj["metadata"]["namespace"], name(obj)
    if server:
        one = cluster.get("ModelServer", namespace, server)
        if one["spec"].get("deployment") != owner:
            raise CliError(
                f"ModelServer {server} belongs to Modelyard Deployment "
                f"{one['spec'].get('deployment')}, not {owner}"
            )
        return [one]
    assert node
    if (obj["spec"].get("target") or {}).get("edge"):
        selector = f"metadata.name={edge_server_name(owner, node)}"
        found = cluster.objects("ModelServer", namespace, fields=selector)
    else:
        found = servers.on_node(cluster, obj, node)
    if not found:
        raise CliError(
            f"Modelyard Deployment {owner} has no server on node {node} now, and the history of a "
            f"server is deleted with it. All rollouts: `modelyard history {owner}`"
        )
    return sorted(found, key=name)


def _server_at(cluster: Cluster, server: Object, when: datetime) -> dict[str, Any]:
    answer = rollouthistory.served_at(server, when)
    made: dict[str, Any] = {
        "server": name(server),
        "node": server["spec"].get("nodeName"),
        "title": rollouthistory.title(server),
        "at": when.isoformat(),
        "answer": asdict(answer.period) if answer.period else None,
        "note": answer.note,
        "lineage": {},
    }
    if answer.period is not None:
        period = answer.period
        made["lineage"] = _lineage(cluster, server, period.model_version, period.digest)
    return made


def _deployment_at(cluster: Cluster, obj: Object, when: datetime) -> dict[str, Any]:
    version, note = rollouthistory.rolled_out_at(obj, when)
    wanted = version_name(obj["spec"]["modelLine"], version) if version else ""
    return {
        "deployment": name(obj),
        "title": f"Modelyard Deployment {name(obj)}",
        "at": when.isoformat(),
        "answer": {"model_version": wanted, "version": version} if version else None,
        "note": note,
        "lineage": _lineage(cluster, obj, wanted, "") if version else {},
    }


def _lineage(cluster: Cluster, beside: Object, wanted: str, digest: str) -> dict[str, str]:
    """Data, code and weights of a ModelVersion in the namespace of another object."""
    namespace = beside["metadata"]["namespace"]
    version = _get(cluster, "ModelVersion", namespace, wanted)
    training = None
    by = rollouthistory.trained_by(version) if version else None
    if by:
        job = _get(cluster, "TrainingJob", namespace, by[0])
        training = job if job and job["metadata"].get("uid") == by[1] else None
    return rollouthistory.lineage(version, training, wanted, digest)


def _get(cluster: Cluster, kind: str, namespace: str, wanted: str) -> Object | None:
    found = cluster.objects(kind, namespace, fields=f"metadata.name={wanted}")
    return found[0] if found else None


def _show(output: Output, answers: list[dict[str, Any]]) -> None:
    if output is Output.JSON:
        typer.echo(json.dumps(answers))
        return
    for index, one in enumerate(answers):
        if index:
            typer.echo()
        typer.echo("\n".join(answer_lines(one)))


def answer_lines(one: dict[str, Any]) -> Iterable[str]:
    """The version served at a time, as text."""
    when = times.local(datetime.fromisoformat(one["at"]))
    answer = one["answer"]
    what = answer["model_version"] if answer else "not known"
    yield f"{one['title']} at {when}: {what}"
    rows: dict[str, str] = {}
    if answer and answer.get("since"):
        until = times.moment(answer["until"])
        since = times.moment(answer["since"])
        end = times.local(until) if until else "now"
        rows["answered"] = f"{times.local(since) if since else '?'} to {end}"
        rows["artifact"] = answer["digest"]
    rows |= one["lineage"]
    if one["note"]:
        rows["note"] = one["note"]
    wide = max((len(key) for key in rows), default=0)
    for key, text in rows.items():
        yield f"  {key:<{wide}}  {text}"


def _show_periods(found: Sequence[Object], output: Output) -> None:
    if output is Output.JSON:
        typer.echo(
            json.dumps(
                [
                    {
                        "server": name(one),
                        "node": one["spec"].get("nodeName"),
                        "periods": [asdict(p) for p in rollouthistory.periods(one)],
                    }
                    for one in found
                ]
            )
        )
        return
    for index, one in enumerate(found):
        if index:
            typer.echo()
        typer.echo("\n".join(period_lines(one)))


def period_lines(server: Object) -> Iterable[str]:
    """The versions that a server has served, as a table."""
    yield rollouthistory.title(server)
    rows = [("VERSION", "SINCE", "UNTIL", "ARTIFACT")]
    for period in rollouthistory.periods(server):
        since, until = times.moment(period.since), times.moment(period.until)
        rows.append(
            (
                period.model_version,
                times.local(since) if since else "?",
                times.local(until) if until else "now",
                period.digest,
            )
        )
    if len(rows) == 1:
        yield "  has not answered with anything yet"
        return
    yield from _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    wide = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = "  ".join(f"{cell:<{w}}" for cell, w in zip(row, wide, strict=True))
        yield f"  {cells.rstrip()}"


def _show_rollouts(obj: Object, output: Output) -> None:
    records = status(obj).get("history") or []
    if output is Output.JSON:
        typer.echo(json.dumps(records))
        return
    if not records:
        typer.echo(f"no rollout of Modelyard Deployment {name(obj)} has ended yet")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for line in record_lines(records):
        # The same text with and without colours.
        text = Text(line)
        for outcome, style in OUTCOMES.items():
            text.highlight_words([f" {outcome} "], style)
        if console.is_terminal:
            console.print(text, soft_wrap=True)
        else:
            typer.echo(line)


def record_lines(records: Iterable[dict[str, Any]]) -> Iterable[str]:
    """Rollouts that have ended as a table, the latest first, each with its cause and message."""
    rows, notes = [("NO.", "VERSION", "BEFORE", "OUTCOME", "STARTED", "TOOK", "SERVERS")], [""]
    for record in records:
        started = times.moment(record.get("startedAt"))
        rows.append(
            (
                str(record.get("revision")),
                str(record.get("modelVersion")),
                str(record.get("previous") or "-"),
                str(record.get("outcome")),
                times.local(started) if started else "?",
                times.between(record.get("startedAt"), record.get("endedAt")),
                "-" if record.get("servers") is None else f"{record['servers']:,}",
            )
        )
        done = [
            f"{rollouthistory.action_text(one)}{f' {times.local(at)}' if at else ''}"
            for one in record.get("actions") or ()
            for at in (times.moment(one.get("at")),)
        ]
        parts = [
            rollouthistory.cause_text(record),
            ", ".join(done),
            str(record.get("message") or ""),
        ]
        notes.append("; ".join(text for text in parts if text))
    for line, note in zip(_table(rows), notes, strict=True):
        yield line.removeprefix("  ")
        if note:
            yield f"     {one_line(note, 800)}"
