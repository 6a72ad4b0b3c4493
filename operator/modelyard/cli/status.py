"""`modelyard status`: the chain as a tree, once or as it changes."""

from __future__ import annotations

import enum
import json
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.cli import chain, options
from modelyard.cli.errors import CliError
from modelyard.cli.kube import Cluster, connect

if TYPE_CHECKING:
    from rich.console import RenderableType

WATCH_SECONDS = 2.0


class Output(enum.StrEnum):
    """How `status` writes."""

    TREE = "tree"
    JSON = "json"


def status(
    name: Annotated[
        str | None, typer.Argument(help="Only objects of this name, with what they belong to.")
    ] = None,
    namespace: options.Namespace = None,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Objects of all namespaces.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show changes until ^C.")] = False,
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
    """The trees of a namespace, or of all. Raises CliError where there is nothing to show."""
    trees = chain.build({kind: cluster.objects(kind, namespace) for kind in chain.KINDS})
    where = f"in namespace {namespace}" if namespace else "in the cluster"
    if name:
        trees = chain.only(trees, name)
        if not trees:
            raise CliError(f"nothing of Modelyard is called {name} {where}; try --all-namespaces")
    if not trees:
        raise CliError(
            f"there is nothing of Modelyard {where} yet: declare a Dataset, or try "
            "--all-namespaces or --namespace"
        )
    return trees


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
        if _worth_saying(node):
            yield "  " * (depth + 2) + node.message
        yield from plain_lines(node.children, many=many, depth=depth + 1)


def rich_trees(trees: Iterable[chain.Node], *, many: bool) -> RenderableType:
    """The trees for a terminal."""
    from rich.console import Group
    from rich.tree import Tree

    def grow(node: chain.Node, at: Tree) -> None:
        for child in node.children:
            grow(child, at.add(_label(child, "")))

    roots = []
    for node in trees:
        root = Tree(_label(node, f"{node.namespace}/" if many else ""), guide_style="dim")
        grow(node, root)
        roots.append(root)
    return Group(*roots)


def _label(node: chain.Node, where: str) -> RenderableType:
    from rich.text import Text

    color = "green" if node.phase in chain.GOOD else "red" if node.phase in chain.BAD else "yellow"
    text = Text.assemble(
        (f"{node.kind} ", "dim"), (f"{where}{node.name}", "bold"), "  ", (node.phase, color)
    )
    if node.figures:
        text.append(f"  {node.figures}")
    if _worth_saying(node):
        text.append(f"\n{node.message}", "italic red" if color == "red" else "italic")
    return text


def _worth_saying(node: chain.Node) -> bool:
    # In a good phase the figures say it all.
    return bool(node.message) and node.phase not in chain.GOOD
