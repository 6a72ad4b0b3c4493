"""What can go wrong in the demo."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from modelyard.cli.errors import CliError
from modelyard_local.cluster.errors import ClusterError


class DemoError(CliError):
    """The demo cannot go on; the message says why and what to do."""


@contextmanager
def cluster_errors() -> Iterator[None]:
    """Turn an error of the cluster into one that ends the command with its message alone."""
    try:
        yield
    except ClusterError as error:
        raise DemoError(str(error)) from error
