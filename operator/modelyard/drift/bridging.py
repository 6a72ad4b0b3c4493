"""A baseline carried over a rollout by pairs: the same images answered by both versions.

While a version is shadowed, images are answered by it and by the serving one. The mean difference
of their figures, added to the old baseline, is what the new version would have had, so a change of
the site just before the rollout is not hidden in a new baseline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from modelyard.drift.baseline import BRIDGE_PAIRS, Baseline, bridged
from modelyard.drift.blocks import PLAIN, plain_figures
from modelyard.drift.line import KEPT
from modelyard.drift.observation import MAX_SOURCE, Observation
from modelyard.drift.signals import CLASSES, Signal
from modelyard.drift.source import Source, key_of


@dataclass(frozen=True)
class Pair:
    """Figures of one image answered by the serving and by the shadowed version."""

    old: Observation
    new: Observation


def bridge_source(source: Source, pairs: Sequence[Pair], now: float) -> Source:
    """The source with a baseline for the new version, kept until that version answers."""
    line = source.model
    mine = [
        pair
        for pair in pairs
        if pair.old.source[:MAX_SOURCE] == source.name
        and key_of(pair.old) == line.key
        and not pair.old.blank
    ]
    if line.baseline is None or len(mine) < BRIDGE_PAIRS:
        return source
    key = key_of(mine[0].new)
    mine = [pair for pair in mine if key_of(pair.new) == key]
    if len(mine) < BRIDGE_PAIRS or key == line.key:
        return source
    figures = _figures(mine)

    def over(baseline: Baseline) -> Baseline:
        return bridged(baseline, key, now, figures, _mix(baseline.reference.mix, mine))

    anchor = line.anchor
    if anchor is not None and anchor.key == line.key:
        anchor = over(anchor)
    kept = tuple(one for one in line.kept if one.key != key)
    new = over(line.baseline)
    return replace(source, model=replace(line, kept=(*kept, new)[-KEPT:], anchor=anchor))


def _figures(pairs: Sequence[Pair]) -> dict[Signal, tuple[np.ndarray, np.ndarray]]:
    rows = [(plain_figures(pair.old), plain_figures(pair.new)) for pair in pairs]
    found = {}
    for column, signal in enumerate(PLAIN):
        both = [(o[column], n[column]) for o, n in rows]
        known = [(o, n) for o, n in both if o is not None and n is not None]
        values = np.asarray(known, dtype=np.float64).reshape(-1, 2)
        found[signal] = (values[:, 0], values[:, 1])
    return found


def _mix(mix: tuple[float, ...], pairs: Sequence[Pair]) -> tuple[float, ...] | None:
    """The old reference's class mix moved by the difference of both versions' mixes."""
    old, new = (
        np.sum([one.classes for one in side], axis=0, dtype=np.float64)
        for side in ([p.old for p in pairs], [p.new for p in pairs])
    )
    if len(mix) != CLASSES or not old.sum() or not new.sum():
        return None
    moved = np.clip(np.asarray(mix) + new / new.sum() - old / old.sum(), 0, None)
    return tuple(float(share) for share in moved / moved.sum())
