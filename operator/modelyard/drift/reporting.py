"""What holds of a source, as findings: from its state, the time and the settings alone."""

from __future__ import annotations

from modelyard.drift.days import FEWEST_DAYS
from modelyard.drift.findings import Finding, Kind
from modelyard.drift.scene import SILENT_BLOCKS
from modelyard.drift.settings import DAY, DriftSettings
from modelyard.drift.source import Source


def findings_of(source: Source, now: float, settings: DriftSettings) -> list[Finding]:
    """What holds of a source."""
    found = [one.finding for one in source.episodes]
    if source.changed is not None:
        found.append(source.changed)
    for line in (source.model, source.pixels):
        if line.suspicion:
            found.append(
                Finding(
                    Kind.BASELINE_SUSPICIOUS,
                    source.name,
                    since=line.suspicious_since,
                    first=line.suspicious_since,
                    signal=line.suspicious_signal,
                    detail=line.suspicion,
                )
            )
    found += _of_camera(source)
    quiet = SILENT_BLOCKS * settings.block_interval
    if now - max(source.last_block, source.first) > quiet:
        since = max(source.last_block, source.first)
        found.append(
            Finding(
                Kind.TOO_FEW_REQUESTS,
                source.name,
                since=since,
                first=since + quiet,
                detail=f"no block of {max(settings.block_images, source.block_images)} images",
            )
        )
    uncalibrated = _uncalibrated(source, settings)
    return found if uncalibrated is None else [*found, uncalibrated]


def _of_camera(source: Source) -> list[Finding]:
    found, scene = [], source.scene
    if scene.dark_since:
        found.append(
            Finding(
                Kind.CAMERA_DARK,
                source.name,
                since=scene.dark_since,
                first=scene.dark_since,
                size=round(scene.dark_share, 3),
                detail="share of blank images",
            )
        )
    if scene.moved_since:
        found.append(
            Finding(
                Kind.CAMERA_MOVED,
                source.name,
                since=scene.moved_since,
                first=scene.moved_since,
                size=round(1 - scene.distance, 3),
                detail="similarity of the scene's layout",
            )
        )
    worst = source.likeness.worst()
    if source.unlike_since and worst is not None:
        found.append(
            Finding(
                Kind.NOT_LIKE_HOLDOUT,
                source.name,
                since=source.unlike_since,
                first=source.unlike_since,
                signal=worst[0],
                size=round(worst[1], 2),
                artifact=source.likeness.artifact,
                detail="share of images outside of the holdout's 98 %",
            )
        )
    return found


def _uncalibrated(source: Source, settings: DriftSettings) -> Finding | None:
    lines = [
        line
        for line in (source.model, source.pixels)
        if any(signal in line.signals for signal in settings.signals)
    ]
    missing = next((line for line in lines if line.baseline is None), None)
    if missing is None:
        if settings.baseline_days >= FEWEST_DAYS:
            return None
        detail = "not calibrated for day and week"
    else:
        collecting = missing.collecting
        blocks = collecting.blocks if collecting is not None else 0
        days = (collecting.last - collecting.started) / DAY if collecting and blocks else 0.0
        detail = (
            f"{blocks} of {settings.baseline_blocks} blocks, "
            f"{days:.1f} of {settings.baseline_days:g} days"
        )
    return Finding(
        Kind.UNCALIBRATED, source.name, since=source.first, first=source.first, detail=detail
    )
