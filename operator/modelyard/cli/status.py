"""`modelyard status`: the chain as a tree, once or with `--watch`.

`chain.py` builds the tree; this module reads the objects and prints it.
"""

from __future__ import annotations

import enum
import json
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.api import ALL_KINDS, kind_info
from modelyard.cli import chain, kube, options, servers
from modelyard.cli.errors import CliError
from modelyard.cli.kube import Cluster, Object, connect

if TYPE_CHECKING:
    from rich.console import RenderableType

WATCH_SECONDS = 2.0
MAX_SERVERS = 10
"""Maximum number of listed servers per Deployment."""


class Output(enum.StrEnum):
    """Output formats of `status`."""

    TREE = "tree"
    JSON = "json"


def status(
    name: Annotated[
        str | None,
        typer.Argument(help="Only objects of this name, with their ancestors and descendants."),
    ] = None,
    namespace: options.Namespace = None,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Show objects of all namespaces.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow changes until ^C.")] = False,
    output: Annotated[Output, typer.Option("--output", "-o", help="tree or json")] = Output.TREE,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Show the chain: dataset, training, version, deployment, servers, with phases and figures."""
    if all_namespaces and namespace:
        raise CliError("choose either --namespace or --all-namespaces", 2)
    cluster = connect(kubeconfig, context)
    where = None if all_namespaces else namespace or cluster.namespace
    if watch:
        _watch(cluster, where, name, output)
    else:
        _print(read(cluster, where, name), output, many=all_namespaces)


def read(cluster: Cluster, namespace: str | None, name: str | None) -> list[chain.Node]:
    """The trees of a namespace, or of all. Raises CliError if there is nothing to show."""
    objects = {
        info.kind: cluster.objects(info.kind, namespace) for info in ALL_KINDS if not info.numerous
    }
    objects["ModelServer"] = [
        one for deployment in objects["Deployment"] for one in _shown(cluster, deployment)
    ]
    if name:
        known = {kube.name(one) for one in objects["ModelServer"]}
        asked = cluster.objects("ModelServer", namespace, fields=f"metadata.name={name}")
        objects["ModelServer"] += [one for one in asked if kube.name(one) not in known]
    trees = chain.build(objects)
    where = f"in namespace {namespace}" if namespace else "in the cluster"
    if name:
        trees = chain.filter_by_name(trees, name)
        if not trees:
            raise CliError(
                f"there is no Modelyard object named {name} {where}; try --all-namespaces"
            )
    if not trees:
        raise CliError(
            f"there are no Modelyard objects {where} yet: create a Dataset, or try "
            "--all-namespaces or --namespace"
        )
    return trees


def _shown(cluster: Cluster, deployment: Object) -> list[Object]:
    """The listed servers of a Deployment: failed ones first, at most MAX_SERVERS."""
    found = servers.first(cluster, deployment, MAX_SERVERS)
    if len(found) < MAX_SERVERS or not kube.status(deployment).get("failedReplicas"):
        return found
    failed = servers.failed(cluster, deployment, MAX_SERVERS)
    known = {kube.name(one) for one in failed}
    return [*failed, *(one for one in found if kube.name(one) not in known)][:MAX_SERVERS]


def _watch(cluster: Cluster, namespace: str | None, name: str | None, output: Output) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console()
    if not console.is_terminal or output is Output.JSON:
        _watch_plain(cluster, namespace, name, output)
        return
    many = namespace is None
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        while True:
            live.update(rich_trees(read(cluster, namespace, name), many=many), refresh=True)
            time.sleep(WATCH_SECONDS)


def _watch_plain(cluster: Cluster, namespace: str | None, name: str | None, output: Output) -> None:
    before: list[chain.Node] | None = None
    while True:
        trees = read(cluster, namespace, name)
        if trees != before:
            if before is not None and output is Output.TREE:
                typer.echo()
            _print(trees, output, many=namespace is None)
            before = trees
        time.sleep(WATCH_SECONDS)


def _print(trees: list[chain.Node], output: Output, *, many: bool) -> None:
    from rich.console import Console

    console = Console()
    if output is Output.JSON:
        typer.echo(json.dumps([tree.as_json() for tree in trees]))
    elif console.is_terminal:
        console.print(rich_trees(trees, many=many))
    else:
        typer.echo("\n".join(plain_lines(trees, many=many)))


def plain_lines(trees: Iterable[chain.Node], *, many: bool, depth: int = 0) -> Iterable[str]:
    """The trees as indented text; `many` names the namespace of each root."""
    for node in trees:
        where = f"{node.namespace}/" if many and depth == 0 else ""
        parts = [f"{node.kind} {where}{node.name}", node.phase, node.figures]
        yield "  " * depth + "  ".join(part for part in parts if part)
        if _message_shown(node):
            yield "  " * (depth + 2) + node.message
        yield from plain_lines(node.children, many=many, depth=depth + 1)
        if node.hidden:
            yield "  " * (depth + 1) + _hidden(node)


def rich_trees(trees: Iterable[chain.Node], *, many: bool) -> RenderableType:
    """The trees for a terminal."""
    from rich.console import Group
    from rich.tree import Tree

    def grow(node: chain.Node, at: Tree) -> None:
        for child in node.children:
            grow(child, at.add(_label(child, "")))
        if node.hidden:
            at.add(f"[dim]{_hidden(node)}[/dim]")

    roots = []
    for node in trees:
        root = Tree(_label(node, f"{node.namespace}/" if many else ""), guide_style="dim")
        grow(node, root)
        roots.append(root)
    return Group(*roots)


def _hidden(node: chain.Node) -> str:
    them = "server" if node.hidden == 1 else "servers"
    more = "more " if node.children else ""
    return f"{node.hidden:,} {more}{them}: modelyard rollout status {node.name}"


def _label(node: chain.Node, where: str) -> RenderableType:
    from rich.text import Text

    info = kind_info(node.kind)
    color = "green" if node.phase in info.good else "red" if node.phase in info.bad else "yellow"
    text = Text.assemble(
        (f"{node.kind} ", "dim"), (f"{where}{node.name}", "bold"), "  ", (node.phase, color)
    )
    if node.figures:
        text.append(f"  {node.figures}")
    if _message_shown(node):
        text.append(f"\n{node.message}", "italic red" if color == "red" else "italic")
    return text


def _message_shown(node: chain.Node) -> bool:
    # In a good phase the figures suffice.
    return bool(node.message) and node.phase not in kind_info(node.kind).good
