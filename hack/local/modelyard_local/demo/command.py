"""`modelyard demo` and `modelyard demo down`.

Options, the summary and error texts. The cluster and images: environment.py; the story: chain.py.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard_local.cluster.choose import choose, probe
from modelyard_local.demo import environment
from modelyard_local.demo.chain import Chain
from modelyard_local.demo.errors import DemoError, cluster_errors
from modelyard_local.demo.objects import Objects
from modelyard_local.demo.screen import Screen

app = typer.Typer(
    help="The whole chain on one machine: data, training, a served model, a swap under load.",
    invoke_without_command=True,
)

STATE = "state.json"
Folder = Annotated[Path, typer.Option("--folder", help="Where results and state are kept.")]


@app.callback()
@cluster_errors()
def main(
    context: typer.Context,
    cluster: Annotated[
        str, typer.Option(envvar="CLUSTER", help="local, kind or current; default: first possible.")
    ] = "",
    name: Annotated[str, typer.Option(help="Name of the cluster to start.")] = "demo",
    namespace: Annotated[str, typer.Option(help="Namespace of the demo's objects.")] = "demo",
    folder: Folder = Path(".demo"),
    checkout: Annotated[
        Path, typer.Option(help="Checkout with examples/, images/ and charts/.")
    ] = Path(),
    values: Annotated[
        Path | None,
        typer.Option(help="More chart values; with CLUSTER=current they must name images."),
    ] = None,
) -> None:
    """Bring everything up and follow the chain. What is already there is used again."""
    if context.invoked_subcommand is not None:
        return
    _check_checkout(checkout)
    screen = Screen()
    picked = choose(cluster, probe(cluster))
    for line in picked.lines():
        screen.say(f"   {line}")
    if picked.kind == "current" and values is None:
        raise DemoError(
            "CLUSTER=current needs images that your cluster can pull: build them with "
            "`make images`, push them, and pass --values FILE that sets images.*"
        )
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    started = {"cluster": picked.kind, "name": name, "namespace": namespace}
    _write(folder / STATE, started)
    here = environment.open_cluster(picked.kind, name)
    images: dict[str, str] = {}
    with screen.phase("environment", "Bring up the cluster and build the images") as live:
        if picked.kind == "current":
            here.up(live)
        else:
            images = environment.bring_up(here, checkout.absolute(), live)
    objects = Objects(here.kubeconfig, namespace)
    with screen.phase("install", "Install the chart") as live:
        objects.make_namespace()
        environment.install_chart(
            here,
            checkout.absolute(),
            images=images,
            namespace=namespace,
            values=values,
            live=live,
        )
    chain = Chain(objects, screen, folder, checkout.absolute() / "examples/digits")
    _follow(chain, cluster_kind=picked.kind)
    _show(screen, chain, here.kubeconfig)


def _follow(chain: Chain, *, cluster_kind: str) -> None:
    """Run the chain; its figures are kept also when it fails."""
    begun = time.time()
    try:
        chain.run()
    finally:
        _summary(chain, cluster_kind=cluster_kind, begun=begun)


@app.command()
@cluster_errors()
def down(folder: Folder = Path(".demo")) -> None:
    """Stop and remove what the demo started; results in its folder stay."""
    screen = Screen()
    state = folder / STATE
    if not state.exists():
        screen.say(f"   nothing to do: no demo was started from {folder.absolute()}")
        return
    started = json.loads(state.read_text())
    here = environment.open_cluster(started["cluster"], started["name"])
    with screen.phase("down", "Stop and remove what the demo started") as live:
        if started["cluster"] == "current":
            objects = Objects(here.kubeconfig, started["namespace"])
            live("deleting the demo's namespace")
            objects.kubectl("delete", "namespace", started["namespace"], "--ignore-not-found")
            environment.uninstall_chart(here, live)
        here.down(purge=True, progress=live)
    state.unlink()


def _check_checkout(checkout: Path) -> None:
    missing = [p for p in ("examples/digits", "images/build.py", "charts/modelyard") if not
               (checkout / p).exists()]  # fmt: skip
    if missing:
        raise DemoError(
            f"{', '.join(missing)} not found in {checkout.absolute()}: run the demo from a "
            "checkout of Modelyard, or name one with --checkout"
        )


def _write(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all, also when killed meanwhile."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(temporary, path)


def _summary(chain: Chain, *, cluster_kind: str, begun: float) -> None:
    _write(
        chain.folder / "summary.json",
        {
            "cluster": cluster_kind,
            "seconds": chain.screen.seconds,
            "chainSeconds": round(time.time() - begun, 1),
            "training": chain.training,
            "modelVersions": chain.versions,
            "prediction": chain.prediction,
            "swap": chain.swap,
        },
    )


def _show(screen: Screen, chain: Chain, kubeconfig: Path) -> None:
    objects = chain.objects
    screen.say(f"\n$ kubectl --kubeconfig {kubeconfig} -n {objects.namespace} get modelyard")
    screen.say(objects.kubectl("get", "modelyard").rstrip())
    url = (objects.get("Deployment", "digits") or {}).get("status", {}).get("url")
    screen.say(f"\n   Served at      {url} (KServe v2; gRPC on port 8001)")
    screen.say(f"   Picture        {chain.prediction['picture']}")
    screen.say(f"   Figures        {chain.folder / 'summary.json'}")
    screen.say("   Look around    modelyard status, or kubectl as above")
    screen.say("   Stop it all    make demo-down")
