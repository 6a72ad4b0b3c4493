"""What the judge of an evaluation (judge.py) leaves for the stage that reports (job.py).

The judge runs no code of strangers, but reads their files with ONNX Runtime, so what it leaves is
read with bounds, and none of it is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from modelyard.contract.profile import MAX_BYTES, MAX_PROFILE_BYTES, ProfileSummary, parse_summary
from modelyard.contract.result import EvaluateResult
from modelyard.store.digests import sha256_bytes
from modelyard.workloads import handover
from modelyard.workloads.errors import UserError

RESULT, SUMMARY, FIGURES = "result.json", "summary.json", "profile.npz"
MAX_RESULT_BYTES = 64 * 1024


@dataclass(frozen=True)
class Profile:
    """A version's profile."""

    summary: ProfileSummary
    text: bytes
    """The summary as it is stored."""
    figures: bytes
    """The figures of all images, which the summary names by digest."""


def leave(folder: Path, result: EvaluateResult, profile: Profile | None) -> None:
    """Write what was found into the judge's volume; the result last."""
    if profile is not None:
        (folder / FIGURES).write_bytes(profile.figures)
        (folder / SUMMARY).write_bytes(profile.text)
    (folder / RESULT).write_text(result.model_dump_json(by_alias=True), encoding="utf-8")


def take(folder: Path) -> tuple[EvaluateResult, Profile | None]:
    """What the judge has left. Raises UserError UntrustedOutput for what it would not leave."""
    text = handover.take_bytes(folder / RESULT, MAX_RESULT_BYTES)
    try:
        result = EvaluateResult.model_validate_json(text)
        if not (folder / SUMMARY).exists():
            return result, None
        summary_text = handover.take_bytes(folder / SUMMARY, MAX_BYTES)
        summary = parse_summary(summary_text)
    except (ValidationError, ValueError) as error:
        raise UserError(
            handover.UNTRUSTED_OUTPUT, f"what the judge left cannot be read: {error}"
        ) from error
    figures = handover.take_bytes(folder / FIGURES, MAX_PROFILE_BYTES)
    if sha256_bytes(figures) != summary.profile:
        raise UserError(
            handover.UNTRUSTED_OUTPUT, "the profile is not the one that its summary names"
        )
    return result, Profile(summary, summary_text, figures)
