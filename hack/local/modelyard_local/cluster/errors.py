"""The one error that the cluster tool raises for what the user can act on."""

from __future__ import annotations


class ClusterError(Exception):
    """A cluster, a build or a machine is not as needed; the text says what to do about it."""
