"""The failure that is the data's own fault."""

from __future__ import annotations

from modelyard.workloads.errors import UserError


class DatasetError(UserError):
    """The data was fetched, but cannot be checked at all: a bad archive or data file.

    The Dataset becomes invalid with the message as its problem, like a wrong label would make it.
    """
