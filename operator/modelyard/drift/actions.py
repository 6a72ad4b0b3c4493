"""What a person does to a source: accept what it looks like, or begin anew."""

from __future__ import annotations

from dataclasses import replace

from modelyard.drift.baseline import How
from modelyard.drift.line import Collecting, Line, in_force
from modelyard.drift.pilot import Pilot
from modelyard.drift.profile import Likeness
from modelyard.drift.recent import Recent
from modelyard.drift.samples import Samples
from modelyard.drift.source import Source


def accepted(source: Source, now: float) -> Source:
    """A person accepts what the source looks like: a suspicious baseline comes into force, and
    else a new one is taken. It becomes the anchor."""
    source = replace(
        source,
        episodes=(),
        changed=None,
        scene=source.scene.accepted(),
        likeness=Likeness(),
        unlike_since=0.0,
    )
    both = source.model, source.pixels
    if any(line.candidate is not None for line in both):
        model, pixels = (_believed(line) for line in both)
        return replace(source, model=model, pixels=pixels)
    model, pixels = (
        replace(line, anchor=None) if line.baseline is None else Line(line.signals, line.key)
        for line in both
    )
    return _retaken(replace(source, model=model, pixels=pixels), now)


def _believed(line: Line) -> Line:
    if line.candidate is None:
        return line
    found = replace(line.candidate, how=How.ACCEPTED)
    return in_force(replace(line, anchor=None, collecting=None), found)


def reset(source: Source, now: float) -> Source:
    """Baselines and charts are taken anew; the anchors stay."""
    model, pixels = source.model, source.pixels
    source = replace(
        source,
        model=Line(model.signals, model.key, anchor=model.anchor),
        pixels=Line(pixels.signals, pixels.key, anchor=pixels.anchor),
        episodes=(),
        block_images=0,
    )
    return _retaken(source, now)


def _retaken(source: Source, now: float) -> Source:
    pixels = source.pixels
    if pixels.baseline is None and pixels.collecting is None and source.block_images:
        pixels = replace(pixels, collecting=Collecting(started=now))
    pilot = source.pilot
    if source.model.baseline is None and source.model.collecting is None:
        pilot = Pilot()
    return replace(
        source, pixels=pixels, pilot=pilot, block=None, recent=Recent(), samples=Samples()
    )
