"""Stories that end wrongly yet, by the branch that mends them."""

from __future__ import annotations

import pytest


def pending(story: str, branch: str) -> pytest.MarkDecorator:
    """A story of the table in the issue that fails until a branch is merged. It is strict: where
    the story ends rightly, the mark must go."""
    reason = f"{story}: branch {branch}"
    return pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason)
