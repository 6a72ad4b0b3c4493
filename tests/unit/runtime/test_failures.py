"""What is told to the user, and how long the next try waits."""

from __future__ import annotations

import random

import pytest

from modelyard.core.plan import Key
from modelyard.kube import errors
from modelyard.runtime.backoff import MAX_SECONDS, Backoff
from modelyard.runtime.budget import OverBudget
from modelyard.runtime.failures import REASONS, NameTaken, Outdated, classify

KEY = Key("Dataset", "ns", "a")


@pytest.mark.parametrize(
    ("error", "result", "reason"),
    [
        (Outdated("x"), "outdated", ""),
        (errors.Conflict("x"), "outdated", ""),
        (errors.Unreachable("x"), "unavailable", ""),
        (errors.ServerError("x"), "unavailable", ""),
        (errors.Unauthorized("x"), "unavailable", ""),
        (errors.Forbidden("x", causes=("NamespaceTerminating",)), "terminating", ""),
        (errors.Forbidden("exceeded quota"), "forbidden", "Forbidden"),
        (errors.Invalid("bad name"), "refused", "Refused"),
        (NameTaken("Job ns/a exists"), "name_taken", "NameTaken"),
        (OverBudget(0.25), "over_budget", "DecisionTooLong"),
        (KeyError("spec"), "bug", "InternalError"),
    ],
)
def test_classify(error: Exception, result: str, reason: str) -> None:
    failure = classify(error)
    assert (failure.result, failure.reason) == (result, reason)
    assert not reason or reason in REASONS


def test_the_servers_wish_is_the_shortest_delay() -> None:
    assert classify(errors.TooManyRequests("x", retry_after=9)).at_least == 9


def test_delays_double_with_jitter_up_to_a_limit() -> None:
    backoff = Backoff(random.Random(1))
    delays = [backoff.failed(KEY) for _ in range(20)]
    for count, delay in enumerate(delays):
        plain = min(MAX_SECONDS, 0.5 * 2**count)
        assert plain <= delay <= plain * 1.5
    assert backoff.failures(KEY) == 20
    backoff.succeeded(KEY)
    assert backoff.failed(KEY) < 1
