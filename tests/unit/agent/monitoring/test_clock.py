"""Is the clock synchronised? Evidence, its age, and steps."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from modelyard.workloads.agent.monitoring.clock import (
    AGREES_SECONDS,
    EVIDENCE_SECONDS,
    HOLD_SECONDS,
    Clock,
    kernel_synchronised,
)


@dataclass
class Node:
    """A machine whose wall clock and kernel tests set."""

    boot: float = 100.0
    offset: float = 1_800_000_000.0
    kernel: bool | None = False

    def clock(self) -> Clock:
        return Clock(
            kernel=lambda: self.kernel,
            wall=lambda: self.boot + self.offset,
            since_boot=lambda: self.boot,
        )


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.mark.parametrize(("kernel", "believed"), [(True, True), (False, False), (None, False)])
def test_without_an_api_server_the_kernels_word_counts(node, kernel, believed):
    node.kernel = kernel
    assert node.clock().synchronised() is believed


def test_agreement_with_the_api_server_is_evidence_for_a_week(node):
    clock = node.clock()
    clock.compare(clock.now() - AGREES_SECONDS / 2)
    assert clock.synchronised()

    node.boot += EVIDENCE_SECONDS - 1
    assert clock.synchronised()

    node.boot += 2
    assert not clock.synchronised()


def test_disagreement_ends_an_agreement(node):
    clock = node.clock()
    clock.compare(clock.now())
    clock.compare(clock.now() + 2 * AGREES_SECONDS)

    assert not clock.synchronised()


def test_a_step_holds_charts_for_a_while_although_the_kernel_is_content(node):
    node.kernel = True
    clock = node.clock()
    node.offset += 3600
    assert not clock.synchronised()

    node.boot += HOLD_SECONDS + 1
    assert clock.synchronised()


def test_what_agreed_before_a_step_says_nothing_afterwards(node):
    clock = node.clock()
    clock.compare(clock.now())
    node.offset -= 5
    clock.synchronised()
    node.boot += HOLD_SECONDS + 1

    assert not clock.synchronised()

    clock.compare(clock.now())
    assert clock.synchronised()


def test_slow_adjustment_and_a_night_asleep_are_no_steps(node):
    node.kernel = True
    clock = node.clock()
    for _ in range(1000):
        node.boot += 10
        node.offset += 0.5
        assert clock.synchronised()
    node.boot += 8 * 3600  # the time since boot goes on while the machine sleeps
    assert clock.synchronised()


def test_this_machines_kernel_can_be_asked():
    assert kernel_synchronised() in (True, False, None)
