"""A decision that takes too long is ended, and nothing else is."""

from __future__ import annotations

import threading
import time

import pytest

from modelyard.runtime.budget import Budget, OverBudget


def forever() -> None:
    while True:
        pass


def test_a_decision_that_does_not_end_is_ended() -> None:
    started = time.process_time()
    with pytest.raises(OverBudget, match=r"0\.05 s of CPU time"):
        Budget(0.05).run(forever)
    assert time.process_time() - started < 1


def test_one_that_catches_everything_is_ended_too() -> None:
    def stubborn() -> None:
        while True:
            try:
                forever()
            except Exception:
                continue

    with pytest.raises(OverBudget):
        Budget(0.05).run(stubborn)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_end_that_a_finalizer_swallows_is_repeated() -> None:
    class Slow:
        def __del__(self) -> None:
            until = time.process_time() + 0.1
            while time.process_time() < until:
                pass

    def dropped() -> None:
        Slow()
        forever()

    with pytest.raises(OverBudget):
        Budget(0.05).run(dropped)


def test_results_and_errors_pass_through() -> None:
    budget = Budget(0.05)
    assert budget.run(lambda: 3) == 3
    with pytest.raises(KeyError):
        budget.run(lambda: {}["missing"])


def test_what_runs_between_decisions_is_not_ended() -> None:
    budget = Budget(0.02)
    budget.run(lambda: None)
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass


def test_waiting_for_a_busy_machine_does_not_count() -> None:
    Budget(0.02).run(lambda: time.sleep(0.1))


def test_outside_the_main_thread_there_is_no_limit() -> None:
    found: list[int] = []

    def elsewhere() -> None:
        found.append(Budget(0.01).run(lambda: sum(range(3_000_000))))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [sum(range(3_000_000))]
