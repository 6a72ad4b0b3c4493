"""`modelyard predict`: sends an image to a Modelyard Deployment and shows the detections.

The protocol is in `inference.py`, drawing in `draw.py`.
"""

from __future__ import annotations

import enum
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli import inference, options
from modelyard.cli.errors import CliError
from modelyard.cli.kube import connect


class Output(enum.StrEnum):
    """Output formats of `predict`."""

    TABLE = "table"
    JSON = "json"


def predict(
    image: Annotated[Path, typer.Argument(help="Image file (JPEG, PNG, …).")],
    deployment: Annotated[
        str,
        typer.Option(
            "--deployment", "-d", help="Modelyard Deployment (mdep) that serves the model."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Write the image with the boxes here, as .png or .jpg.")
    ] = None,
    namespace: options.Namespace = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="table or json")] = Output.TABLE,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the response.", min=1)] = 60,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Send an image to a Modelyard Deployment and show the detections.

    The request goes through the API server, so a kubeconfig is all that is needed.
    """
    content = _read(image)
    cluster = connect(kubeconfig, context)
    target = cluster.get("Deployment", namespace or cluster.namespace, deployment)
    started = time.perf_counter()
    found = inference.predict(cluster, target, content, timeout=timeout)
    seconds = time.perf_counter() - started
    if out:
        from modelyard.cli import draw

        draw.save(draw.draw(content, found.detections), out)
    if output is Output.JSON:
        typer.echo(json.dumps(asdict(found)))
    else:
        _print_table(found, seconds, out)


def _read(image: Path) -> bytes:
    try:
        content = image.read_bytes()
    except OSError as error:
        raise CliError(f"{image} cannot be read: {error.strerror or error}") from error
    if not content:
        raise CliError(f"{image} is empty")
    return content


def _print_table(found: inference.Prediction, seconds: float, out: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    count = len(found.detections)
    boxes = "1 box" if count == 1 else f"{count} boxes"
    typer.echo(f"{found.model} version {found.version}: {boxes} in {seconds * 1000:.0f} ms")
    if count:
        table = Table(box=None, pad_edge=False)
        table.add_column("LABEL")
        for heading in ("SCORE", "X1", "Y1", "X2", "Y2"):
            table.add_column(heading, justify="right")
        for one in found.detections:
            corners = [f"{value:.1f}" for value in (one.x1, one.y1, one.x2, one.y2)]
            table.add_row(one.label, f"{one.score:.3f}", *corners)
        Console(highlight=False).print(table)
    if out:
        typer.echo(f"boxes drawn into {out}")
