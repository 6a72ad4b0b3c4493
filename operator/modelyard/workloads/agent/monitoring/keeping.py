"""The state of monitoring on disk: it takes weeks to come by, so it must outlive whatever it can.

One file in the cache's folder, compressed, replaced whole (`memory.write_whole`): a power failure
leaves the old one or the new one. Writes wear the flash of edge nodes, so open blocks are
written every few minutes at most. A file that cannot be used is put aside, and it is told that
baselines start anew.
"""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from modelyard.api.monitoring import ServerMonitoring
from modelyard.workloads.agent.memory import write_whole

logger = logging.getLogger(__name__)

FILE = "monitoring.json.gz"
DAMAGED = "monitoring.damaged"
FORMAT = 1
MAX_BYTES = 256 * 1024 * 1024
"""A file that unpacks to more is none of ours."""


@dataclass
class Kept:
    """What is remembered beside the artifacts."""

    monitoring: ServerMonitoring | None = None
    """What was asked for last."""
    accepted: str | None = None
    """Last value of spec.monitoring.accepted that was acted on."""
    reset: str | None = None
    since: dict[str, float] = field(default_factory=dict)
    """When findings of the agent's own began, by kind, seconds since 1970."""
    reported: dict[str, Any] = field(default_factory=dict)
    """Findings as they were reported first, by key (summary.py)."""
    state: dict[str, Any] | None = None
    """The statistics' state, as JSON; None if there is none."""
    lost: bool = False
    """Whether an earlier state could not be used."""


class Keeper:
    """Reads and writes the state of one Modelyard Deployment's server. Blocking calls."""

    def __init__(self, folder: Path, namespace: str, deployment: str) -> None:
        self._path = folder / FILE
        self._owner = f"{namespace}/{deployment}"

    def read(self) -> Kept:
        """What was written last. Never raises: what cannot be used is `lost`."""
        try:
            return self._parse(self._path.read_bytes())
        except FileNotFoundError:
            return Kept()
        except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
            logger.warning("cannot use %s, baselines start anew: %s", self._path, error)
            self.put_aside()
            return Kept(lost=True)

    def write(self, kept: Kept) -> None:
        """Replaces what was written before. Raises OSError."""
        content = {
            "format": FORMAT,
            "owner": self._owner,
            "monitoring": _dump(kept.monitoring),
            "accepted": kept.accepted,
            "reset": kept.reset,
            "since": kept.since,
            "reported": kept.reported,
            "lost": kept.lost,
            "state": kept.state,
        }
        text = json.dumps(content, separators=(",", ":"))
        write_whole(self._path, gzip.compress(text.encode(), 1, mtime=0))

    def put_aside(self) -> None:
        """Keeps a file that cannot be used for whoever wants to know why."""
        try:
            self._path.replace(self._path.with_name(DAMAGED))
        except OSError as error:
            logger.warning("cannot put %s aside: %s", self._path, error)

    def _parse(self, packed: bytes) -> Kept:
        unpacker = zlib.decompressobj(wbits=31)
        text = unpacker.decompress(packed, MAX_BYTES)
        if not unpacker.eof:
            raise ValueError("it is cut off, or larger than it can be")
        found = json.loads(text)
        if found["format"] != FORMAT:
            raise ValueError(f"its format is {found['format']}, not {FORMAT}")
        if found["owner"] != self._owner:
            logger.warning("%s is of %s, starting without it", self._path, found["owner"])
            return Kept()
        return Kept(
            monitoring=_load(found["monitoring"]),
            accepted=found["accepted"],
            reset=found["reset"],
            since={str(kind): float(at) for kind, at in found["since"].items()},
            reported=dict(found["reported"]),
            state=found["state"],
            lost=bool(found["lost"]),
        )


def _dump(monitoring: ServerMonitoring | None) -> dict[str, Any] | None:
    if monitoring is None:
        return None
    return monitoring.model_dump(by_alias=True, exclude_none=True, mode="json")


def _load(found: Any) -> ServerMonitoring | None:
    try:
        return None if found is None else ServerMonitoring.model_validate(found, extra="ignore")
    except ValidationError:
        return None  # of another release: the API server will say it again
