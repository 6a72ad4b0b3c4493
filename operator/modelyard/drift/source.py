"""All that is remembered of one source (camera), and what an image changes in it.

pilot       the first images: length of a block, scale of embeddings (pilot.py)
block       the open block (blocks.py)
model       baseline and charts of what the model answers (line.py)
pixels      the same of what the images look like, whatever the model
scene       dark or moved camera (scene.py)
episodes    drift that was found and has not ended
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from modelyard.drift import pilot as pilots
from modelyard.drift.baseline import How, Unit, moved_from
from modelyard.drift.blocks import Block, Embedder, valid_projection
from modelyard.drift.charts import Charted
from modelyard.drift.findings import Change, Event, Finding, Kind, Reason
from modelyard.drift.line import Collecting, Context, Line, chart_block, finish
from modelyard.drift.observation import Observation
from modelyard.drift.pilot import Pilot
from modelyard.drift.profile import CLEARED, HALF, Likeness, Profile
from modelyard.drift.recent import Recent
from modelyard.drift.samples import Samples
from modelyard.drift.scene import Scene
from modelyard.drift.settings import DAY, DriftSettings
from modelyard.drift.signals import INPUT, SIGNALS, Signal

MODEL = tuple(signal for signal in SIGNALS if signal not in INPUT)
DAY_HOLD = 1.5 * DAY
"""Drift of a chart of days lasts at least so long: its next value comes a day later."""
BACKWARDS = 60.0
"""Seconds by which times may go back before the open block is dropped."""


@dataclass(frozen=True)
class Episode:
    """Drift of one signal that has not ended."""

    finding: Finding
    until: float


@dataclass(frozen=True)
class Source:
    """See the module."""

    name: str
    first: float
    seen: float = 0.0
    last_block: float = 0.0
    blank: int = 0
    """Blank images that were left out, ever."""
    tau: float = 1.0
    block_images: int = 0
    """Images that a block needs; 0 before the first pilot has ended."""
    pilot: Pilot | None = field(default_factory=Pilot)
    block: Block | None = None
    model: Line = field(default_factory=lambda: Line(MODEL))
    pixels: Line = field(default_factory=lambda: Line(INPUT))
    scene: Scene = field(default_factory=Scene)
    likeness: Likeness = field(default_factory=Likeness)
    unlike_since: float = 0.0
    recent: Recent = field(default_factory=Recent)
    samples: Samples = field(default_factory=Samples)
    episodes: tuple[Episode, ...] = ()
    changed: Finding | None = None
    """SiteChanged."""


def key_of(image: Observation) -> str:
    """Of the model's line."""
    return f"{image.artifact} {image.pipeline}"


def artifact_in(key: str) -> str:
    """The artifact's digest in a key."""
    return key.partition(" ")[0]


def with_image(
    source: Source,
    image: Observation,
    settings: DriftSettings,
    *,
    sources: int,
    profile: Profile | None,
    pool: Mapping[Signal, Sequence[float]],
) -> tuple[Source, list[Event]]:
    """The source after an image, and what happened."""
    if image.time < source.seen - BACKWARDS:
        source = replace(source, block=None)
    source = replace(source, seen=image.time)
    learning = source.pixels.baseline is None
    source = replace(source, scene=source.scene.with_image(image, settings, learning))
    if image.blank:
        return replace(source, blank=source.blank + 1), []
    if key_of(image) != source.model.key:
        source = _switched(source, image)
    if profile is not None and settings.profile:
        source = _likened(source, image, profile)
    if valid_projection(image):
        learning = source.model.collecting is not None or source.pilot is not None
        samples = source.samples.with_image(image, source.model.key, learning)
        source = replace(source, samples=samples)
    if source.pilot is not None:
        source = _piloted(source, image, settings)
    if not source.block_images:
        return source, []
    block = source.block or Block(start=image.time, last=image.time)
    block = block.with_image(image, _embedder(source.model))
    if not block.is_full(settings, source.block_images):
        return replace(source, block=block), []
    context = Context(source.name, settings, source.tau, source.block_images, sources, pool)
    return _closed(replace(source, block=None, last_block=block.last), block, context)


def _switched(source: Source, image: Observation) -> Source:
    """Another version answers, or with other settings: its own baseline, if it is kept."""
    key = key_of(image)
    kept = next((one for one in source.model.kept if one.key == key), None)
    line = replace(
        source.model,
        key=key,
        baseline=kept,
        collecting=None,
        candidate=None,
        suspicion="",
        suspicious_since=0.0,
        suspicious_signal=None,
        charts={},
    )
    complete = kept is not None and kept.how is not How.BRIDGED
    pilot = None if complete and source.block_images else (source.pilot or Pilot())
    if source.model.key and not complete:
        pilot = Pilot()
    return replace(source, model=line, block=None, pilot=pilot)


def _likened(source: Source, image: Observation, profile: Profile) -> Source:
    likeness = source.likeness.with_image(image, profile)
    worst = likeness.worst()
    since = source.unlike_since
    if worst is None or worst[1] < CLEARED:
        since = 0.0
    elif worst[1] > HALF:
        since = since or image.time
    return replace(source, likeness=likeness, unlike_since=since)


def _piloted(source: Source, image: Observation, settings: DriftSettings) -> Source:
    assert source.pilot is not None
    pilot = source.pilot.with_image(image)
    if len(pilot) < pilots.length(settings):
        return replace(source, pilot=pilot)
    if not source.block_images:
        needed = max(pilot.block_images(settings), 1)
        source = replace(source, block_images=needed, tau=max(needed / 2, 1.0))
    started = Collecting(started=image.time)
    model = replace(source.model, collecting=replace(started, embedder=pilot.embedder()))
    pixels = source.pixels
    if pixels.baseline is None and pixels.collecting is None:
        pixels = replace(pixels, collecting=started)
    # The block that is open has no features of this embedder.
    return replace(source, pilot=None, model=model, pixels=pixels, block=None)


def _embedder(line: Line) -> Embedder | None:
    if line.baseline is not None and line.baseline.embedder is not None:
        return line.baseline.embedder
    return line.collecting.embedder if line.collecting is not None else None


def _closed(source: Source, block: Block, context: Context) -> tuple[Source, list[Event]]:
    """After a block: charts first, then baselines that are complete with it."""
    events = [Event(Change.BLOCK, block.last, source.name)]
    charted: dict[Signal, Charted] = {}
    lines = []
    for line in (source.model, source.pixels):
        reference = line.baseline.reference if line.baseline is not None else None
        after, found = chart_block(line, block, block.values(reference), context)
        charted |= found
        if after.collecting is not None:
            grown = after.collecting.with_block(block, after.signals, context.settings)
            after = replace(after, collecting=grown)
        lines.append(after)
    source = replace(
        source,
        model=lines[0],
        pixels=lines[1],
        recent=source.recent.with_block(block.last, charted),
    )
    source, alarms = _alarmed(source, block.last, charted, context)
    source, accepted = _finished(source, block.last, context)
    return source, events + alarms + accepted


def _alarmed(
    source: Source, now: float, charted: Mapping[Signal, Charted], context: Context
) -> tuple[Source, list[Event]]:
    events = []
    for signal in context.settings.signals:
        one = charted.get(signal)
        if one is None or one.crossing is None:
            continue
        old = next((e for e in source.episodes if e.finding.signal is signal), None)
        finding = replace(
            old.finding if old else _first(source, signal, one, now),
            last=now,
            size=round(one.crossing.size, 3),
        )
        hold = context.settings.hold
        hold = max(hold, DAY_HOLD) if one.crossing.unit is Unit.DAY else hold
        others = tuple(e for e in source.episodes if e.finding.signal is not signal)
        source = replace(source, episodes=(*others, Episode(finding, now + hold)))
        if old is None or one.crossing.fresh:
            events.append(Event(Change.ALARM, now, source.name, finding))
    return source, events


def _first(source: Source, signal: Signal, charted: Charted, now: float) -> Finding:
    """A new episode, with what explains it."""
    assert charted.crossing is not None
    since = charted.crossing.since
    reasons = []
    for other in SIGNALS:
        mean = source.recent.mean_since(other, since) if other is not signal else None
        if mean is not None and abs(mean) >= 1:
            reasons.append(Reason(other, round(mean, 2)))
    reasons.sort(key=lambda reason: -abs(reason.size))
    detail = f"in sd of a {charted.crossing.unit.lower()}"
    if signal is Signal.EMBEDDING and (test := source.samples.compare(source.name)) is not None:
        detail += f"; MMD² {test.squared:.2g}, p = {test.probability:.3g}"
    return Finding(
        kind=Kind.DRIFTING,
        source=source.name,
        since=since,
        first=now,
        signal=signal,
        artifact=artifact_in(source.model.key),
        reasons=tuple(reasons[:4]),
        detail=detail,
    )


def _finished(source: Source, now: float, context: Context) -> tuple[Source, list[Event]]:
    events = []
    model, new_model = finish(source.model, now, context)
    pixels, new_pixels = finish(source.pixels, now, context)
    source = replace(source, model=model, pixels=pixels)
    for line, new in ((model, new_model), (pixels, new_pixels)):
        if not new or line.baseline is None:
            continue
        detail = f"{line.baseline.how}, {line.baseline.blocks} blocks"
        finding = Finding(Kind.UNCALIBRATED, source.name, first=now, detail=detail)
        events.append(Event(Change.BASELINE, now, source.name, finding))
        source = _against_anchor(source, line, now)
    return source, events


def _against_anchor(source: Source, line: Line, now: float) -> Source:
    """SiteChanged: a later baseline lies elsewhere than the anchor. Baselines of two versions are
    comparable only where one was bridged, or for the pixels."""
    anchor, found = line.anchor, line.baseline
    if anchor is None or found is None or anchor is found or anchor.key != found.key:
        return source
    moved = moved_from(anchor, found)
    if moved is None:
        changed = source.changed
        same = changed is not None and changed.signal in found.signals
        return replace(source, changed=None) if same else source
    signal, size = moved
    finding = Finding(
        kind=Kind.SITE_CHANGED,
        source=source.name,
        since=found.started,
        first=now,
        signal=signal,
        size=round(size, 3),
        detail="between the anchor's and the newest baseline",
    )
    return replace(source, changed=finding)


def expired(source: Source, now: float) -> Source:
    """Without the drift that has ended."""
    left = tuple(one for one in source.episodes if now < one.until)
    return source if len(left) == len(source.episodes) else replace(source, episodes=left)


def held(source: Source) -> Source:
    """The clock is not to be trusted: what was open is dropped."""
    return replace(source, block=None)
