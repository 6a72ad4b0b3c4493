"""Baselines and charts of one source that are kept under one key.

A source has two lines: what the model answers, keyed by artifact and pipeline settings, and what
the pixels look like, which no new version changes. A line is taking a baseline (`Collecting`), or
has one and charts its blocks, or both after a rollout was bridged: Embedding cannot be carried over
and is taken anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from modelyard.drift import suspicion as suspicions
from modelyard.drift.baseline import Baseline, How, SignalBaseline, of_signal
from modelyard.drift.blocks import Block, Embedder, Reference
from modelyard.drift.charts import Chart, Charted, after_block
from modelyard.drift.cusum import neighbours
from modelyard.drift.series import Series, add, pack, unpack
from modelyard.drift.settings import DAY, HOUR, DriftSettings
from modelyard.drift.signals import CLASSES, Signal
from modelyard.drift.suspicion import Suspicion

KEPT = 3
"""Baselines that are kept, so that a rollback finds its own."""
REFERENCE_SHARE = 0.25
"""Part of a baseline's blocks, and of at most a day, that distances are taken from."""


@dataclass(frozen=True)
class Collecting:
    """A baseline that is being taken."""

    started: float
    last: float = 0.0
    blocks: int = 0
    images: int = 0
    series: dict[Signal, Series] = field(default_factory=dict)
    classes: tuple[int, ...] = (0,) * CLASSES
    features: bytes = b""
    """Sum of the features of the reference's images."""
    embedded: int = 0
    reference: Reference | None = None
    embedder: Embedder | None = None

    def with_block(
        self, block: Block, signals: Sequence[Signal], settings: DriftSettings
    ) -> Collecting:
        """With one more block."""
        hour = (block.last - self.started) / HOUR
        series = dict(self.series)
        for signal, value in block.values(self.reference).items():
            if signal in signals:
                series[signal] = series.get(signal, Series()).append(hour, value)
        grown = replace(
            self,
            last=block.last,
            blocks=self.blocks + 1,
            images=self.images + block.images,
            series=series,
        )
        return grown if grown.reference else grown._towards_reference(block, settings)

    def _towards_reference(self, block: Block, settings: DriftSettings) -> Collecting:
        classes = tuple(a + b for a, b in zip(self.classes, block.classes, strict=True))
        features = add(self.features, unpack(block.features)) if block.features else self.features
        grown = replace(
            self, classes=classes, features=features, embedded=self.embedded + block.embedded
        )
        wanted = min(REFERENCE_SHARE * settings.baseline_days * DAY, DAY)
        if (
            grown.blocks < REFERENCE_SHARE * settings.baseline_blocks
            or grown.last - grown.started < wanted
        ):
            return grown
        boxes = sum(classes)
        mix = tuple(count / boxes for count in classes) if boxes else ()
        mean = pack(unpack(features) / grown.embedded) if features else b""
        return replace(grown, reference=Reference(mix, mean))

    def is_complete(self, settings: DriftSettings) -> bool:
        """Whether it has its blocks and its days."""
        days = settings.baseline_days * DAY
        return self.blocks >= settings.baseline_blocks and self.last - self.started >= days


@dataclass(frozen=True)
class Line:
    """See the module."""

    signals: tuple[Signal, ...]
    key: str = ""
    collecting: Collecting | None = None
    baseline: Baseline | None = None
    candidate: Baseline | None = None
    """A suspicious one, for a person to accept."""
    suspicion: str = ""
    suspicious_since: float = 0.0
    suspicious_signal: Signal | None = None
    kept: tuple[Baseline, ...] = ()
    """The last ones in force, this one included."""
    anchor: Baseline | None = None
    """The first one that was accepted; only a person moves it."""
    charts: dict[Signal, Chart] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What a line's decisions need beside its own state."""

    source: str
    settings: DriftSettings
    tau: float
    """Integrated autocorrelation time of the source's images."""
    block_images: int
    """Images that a block needs for that."""
    sources: int
    """Sources that share the server's budget of false alarms."""
    pool: Mapping[Signal, Sequence[float]]

    @property
    def seconds_per_alarm(self) -> float:
        """Of one side of one chart (Bonferroni)."""
        sides = 2 * max(len(self.settings.signals), 1) * max(self.sources, 1)
        return self.settings.expected_run_length * sides

    @property
    def block_interval(self) -> float:
        """Shortest time between two blocks, s."""
        return max(self.settings.block_interval, self.settings.sample * self.block_images)


def chart_block(
    line: Line, block: Block, values: Mapping[Signal, float], context: Context
) -> tuple[Line, dict[Signal, Charted]]:
    """The line's charts after a block; signals that only explain have a chart that never
    crosses."""
    if line.baseline is None:
        return line, {}
    charts, found = dict(line.charts), {}
    for signal, one in line.baseline.signals.items():
        if signal not in values:
            continue
        interval = context.block_interval
        limits = one.thresholds(context.seconds_per_alarm, interval)
        charted = after_block(
            charts.get(signal, Chart()),
            one,
            values[signal],
            start=block.start,
            end=block.last,
            thresholds=limits,
        )
        charts[signal], found[signal] = charted.chart, charted
    return replace(line, charts=charts), found


def finish(line: Line, now: float, context: Context) -> tuple[Line, bool]:
    """The line once its baseline is complete, and whether a baseline is in force anew.

    Takes up to a second: thresholds of every signal are calibrated.
    """
    collecting = line.collecting
    if collecting is None or not collecting.is_complete(context.settings):
        return line, False
    if line.baseline is not None:
        return _grafted(line, collecting, context), True
    candidate, suspicion = _judged(line, collecting, now, context)
    if suspicion is None:
        return in_force(replace(line, collecting=None), candidate), True
    started = replace(Collecting(started=now, embedder=collecting.embedder), last=now)
    suspected = replace(
        line,
        collecting=started,
        candidate=candidate,
        suspicion=suspicion.detail,
        suspicious_since=suspicion.since,
        suspicious_signal=suspicion.signal,
    )
    return suspected, False


def in_force(line: Line, found: Baseline) -> Line:
    """With this baseline in force; it becomes the anchor if there is none."""
    others = tuple(one for one in line.kept if one.key != found.key)
    return replace(
        line,
        key=found.key,
        baseline=found,
        candidate=None,
        suspicion="",
        suspicious_since=0.0,
        suspicious_signal=None,
        kept=(*others, found)[-KEPT:],
        anchor=line.anchor or found,
        charts={},
    )


def _judged(
    line: Line, collecting: Collecting, now: float, context: Context
) -> tuple[Baseline, Suspicion | None]:
    signals = _signals(line, collecting, line.signals, context)
    found = Baseline(
        key=line.key,
        started=collecting.started,
        ended=now,
        blocks=collecting.blocks,
        how=How.AUTOMATIC,
        signals=signals,
        reference=collecting.reference or Reference(),
        embedder=collecting.embedder,
    )
    charted = [one for one in context.settings.signals if one in signals]
    for signal in charted:
        suspicion = suspicions.change_within(
            signal,
            collecting.series[signal],
            started=collecting.started,
            key=_seed_key(line, collecting, context),
            tests=len(charted),
        )
        if suspicion is not None:
            return found, suspicion
    return found, suspicions.apart_from_pool(found, context.pool)


def _signals(
    line: Line, collecting: Collecting, wanted: Sequence[Signal], context: Context
) -> dict[Signal, SignalBaseline]:
    settings, found = context.settings, {}
    images = collecting.images / max(collecting.blocks, 1)
    for signal in wanted:
        one = of_signal(
            signal,
            collecting.series.get(signal, Series()),
            started=collecting.started,
            correlation=neighbours(images, context.tau),
            calendar=settings.baseline_days >= 1,
            key=_seed_key(line, collecting, context),
            steps_per_alarm=context.seconds_per_alarm / context.block_interval,
        )
        if one is not None:
            found[signal] = one
    return found


def _seed_key(line: Line, collecting: Collecting, context: Context) -> str:
    return f"{context.source} {line.key} {collecting.started}"


def _grafted(line: Line, collecting: Collecting, context: Context) -> Line:
    """The bridged baseline with what it lacked, of the one that was taken since."""
    old = line.baseline
    assert old is not None
    missing = [signal for signal in line.signals if signal not in old.signals]
    found = _signals(line, collecting, missing, context)
    reference = Reference(
        old.reference.mix or (collecting.reference or Reference()).mix,
        (collecting.reference or Reference()).features,
    )
    if Signal.CLASS_MIX in found and old.reference.mix:
        del found[Signal.CLASS_MIX]
    new = replace(
        old, signals=old.signals | found, reference=reference, embedder=collecting.embedder
    )
    others = tuple(one for one in line.kept if one.key != new.key)
    return replace(line, collecting=None, baseline=new, kept=(*others, new)[-KEPT:])
