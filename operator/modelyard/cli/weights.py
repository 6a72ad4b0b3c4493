"""`modelyard weights add`: uploads pretrained weights, for clusters without Internet access.

Training pods look up `spec.model` in the store first (workloads/train/initial.py) and download it
only if it is missing there.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.cli import options
from modelyard.cli.errors import UNREACHABLE, CliError, one_line
from modelyard.contract.paths import weights_key

if TYPE_CHECKING:
    from modelyard.contract.run import StoreLocation
    from modelyard.store import Store

app = typer.Typer(
    name="weights",
    help="Manage pretrained weights in the store, which trainings use before downloading.",
    no_args_is_help=True,
)

RELEASE = "https://github.com/ultralytics/assets/releases/download/v8.4.0"
"""Ultralytics' release of pretrained weights."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,124}\.pt")
_ZIP = b"PK\x03\x04"
_TIMEOUT = 60.0


@app.callback()
def _weights() -> None:
    """Makes `add` a subcommand although it is the only one."""


@app.command()
def add(
    file: Annotated[
        str, typer.Argument(help="A .pt file, or a name of Ultralytics' to download: yolo11n.pt.")
    ],
    name: Annotated[
        str | None, typer.Option(help="Name that a TrainingJob's spec.model uses; default: FILE's.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            help="URL of a namespace's part of the store, s3://bucket/prefix; default: that of the "
            "cluster's own store."
        ),
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="With --store: endpoint of an S3-compatible server.")
    ] = None,
    region: Annotated[str, typer.Option(help="With --store: region.")] = "us-east-1",
    namespace: options.Namespace = None,
    kubeconfig: options.Kubeconfig = None,
    context: options.Context = None,
) -> None:
    """Upload pretrained weights to a namespace's part of the store, under the name that the
    spec.model of its TrainingJobs uses.

    With --store, credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
    """
    from modelyard.contract.run import StoreLocation
    from modelyard.store import StoreError, StoreUnavailable

    if endpoint and not store:
        raise CliError("--endpoint belongs to --store", 2)
    target = name or Path(file).name
    if not _NAME.fullmatch(target):
        raise CliError(
            f"{target!r} cannot name weights: letters, digits, dots, dashes and underscores, "
            "ending in .pt; choose another with --name"
        )
    location = StoreLocation(url=store, endpoint=endpoint, region=region) if store else None
    with _local(file) as (path, source):
        _check(path)
        try:
            with _opened(location, namespace, kubeconfig, context) as opened:
                digest = opened.put_file(path)
                opened.put_pointer(weights_key(target), {"digest": digest, "source": source})
                typer.echo(f"{target} {digest} is in {opened.url}")
        except StoreError as error:
            code = UNREACHABLE if isinstance(error, StoreUnavailable) else 1
            raise CliError(str(error), code) from error
    typer.echo(f"use it with `model: {target}` in a TrainingJob")


@contextlib.contextmanager
def _opened(
    location: StoreLocation | None,
    namespace: str | None,
    kubeconfig: Path | None,
    context: str | None,
) -> Iterator[Store]:
    from modelyard.cli import storeaccess
    from modelyard.cli.kube import connect

    if location is not None:
        with storeaccess.open_store_at(location) as opened:
            yield opened
    else:
        cluster = connect(kubeconfig, context)
        with storeaccess.open_cluster_store(cluster, namespace or cluster.namespace) as opened:
            yield opened


@contextlib.contextmanager
def _local(file: str) -> Iterator[tuple[Path, str]]:
    """Path of the weights on this machine, and the source to record."""
    path = Path(file)
    if path.is_file():
        yield path, path.name
        return
    if path.name != file or not _NAME.fullmatch(file):
        raise CliError(f"there is no file {file}")
    url = f"{RELEASE}/{file}"
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder, file)
        typer.echo(f"there is no file {file} here, downloading {url}", err=True)
        try:
            with (
                urllib.request.urlopen(url, timeout=_TIMEOUT) as answer,  # noqa: S310 - https
                local.open("wb") as target,
            ):
                shutil.copyfileobj(answer, target)
        except urllib.error.HTTPError as error:
            raise CliError(
                f"Ultralytics' release has no {file} ({error.code}), and there is no such file here"
            ) from error
        except OSError as error:
            reason = getattr(error, "reason", None) or error
            raise CliError(
                f"{url} cannot be downloaded ({one_line(reason)}): fetch the file where there is a "
                "network, and give its path",
                UNREACHABLE,
            ) from error
        yield local, url


def _check(path: Path) -> None:
    """Rejects files that cannot be a checkpoint. Only training pods unpickle one."""
    try:
        with path.open("rb") as stream:
            start = stream.read(len(_ZIP))
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror or error}") from error
    if start != _ZIP:
        raise CliError(
            f"{path} is not a PyTorch checkpoint: those are ZIP archives; was the download "
            "cut off, or is it a web page?"
        )
