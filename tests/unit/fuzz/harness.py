"""Feeds parsers with inputs of strangers, and measures what each input costs.

Hypothesis draws a well-formed input and a source of chance; the input itself and BATCH - 1 damaged
forms of it are tried. So structure comes from a strategy, and damage costs no drawing: 100,000
inputs take minutes. A failure prints the input; hypothesis then looks for a smaller one.
"""

from __future__ import annotations

import atexit
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

BATCH = 25
"""Inputs of one example."""
INPUTS = {"suite": 300, "random": 100_000}
"""Inputs of each target, by profile: `make test` and `make test-random`."""
MAX_SECONDS = 1.0
"""CPU time of one input."""
MIB = 2**20
TRACED_EVERY = 10
"""Memory is measured for one batch in so many: tracing makes Python several times as slow."""

chance = st.integers(0, 2**32 - 1).map(Random)
"""Not `st.randoms`, which records every draw: it takes a hundred times as long."""


def fuzz(test: Callable[..., None]) -> Callable[..., None]:
    """As many examples as the profile asks for; put it above `given`."""
    profile = "random" if settings.default is settings.get_profile("random") else "suite"
    examples = INPUTS[profile] // BATCH
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(max_examples=examples, suppress_health_check=checks, deadline=None)(test)


@dataclass
class Target:
    """One parser, with what may come of it and what an input may cost."""

    name: str
    memory: int
    """Bytes that Python may allocate for one input."""
    inputs: int = 0
    slowest: float = 0.0
    largest: int = 0
    """Peak of the traced inputs."""
    _batches: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        atexit.register(self._report)

    def feed(self, inputs: Iterator[Any], parse: Callable[[Any], object]) -> None:
        """Parse a batch. Fails for an error that `parse` lets out, and for what costs too much."""
        self._batches += 1
        traced = self._batches % TRACED_EVERY == 1
        for one in inputs:
            if traced:
                tracemalloc.start()
            started = time.process_time()
            try:
                parse(one)
            except Exception as error:
                error.add_note(f"input: {one!r}"[:4000])
                raise
            finally:
                seconds = time.process_time() - started
                peak = tracemalloc.get_traced_memory()[1] if traced else 0
                tracemalloc.stop()
            self.inputs += 1
            self.slowest, self.largest = max(self.slowest, seconds), max(self.largest, peak)
            assert peak < self.memory, f"{peak / MIB:.1f} MiB for {repr(one)[:2000]}"
            # Traced, an input takes several times as long.
            assert seconds < MAX_SECONDS * (5 if traced else 1), f"{seconds} s, {repr(one)[:2000]}"

    def _report(self) -> None:
        if self.inputs:
            print(
                f"\nfuzz {self.name}: {self.inputs} inputs, slowest {self.slowest * 1000:.0f} ms, "
                f"largest {self.largest / MIB:.1f} MiB"
            )


def damaged(data: bytes, random: Random, dictionary: tuple[bytes, ...] = ()) -> Iterator[bytes]:
    """The data, then forms of it with bytes changed, moved, repeated, cut off or replaced by words
    that mean something in the format."""
    yield data
    for _ in range(BATCH - 1):
        one = bytearray(data)
        for _ in range(random.choice((1, 1, 1, 2, 4, 16))):
            at = random.randrange(len(one) + 1)
            length = random.choice((1, 1, 2, 4, 8, 64))
            kind = random.randrange(6 if dictionary else 5)
            if kind == 0:
                one[at : at + length] = random.randbytes(length)
            elif kind == 1:
                del one[at : at + length]
            elif kind == 2:
                one[at:at] = one[at : at + length] * random.choice((1, 2, 100))
            elif kind == 3:
                del one[at:]
            elif kind == 4:
                one[at : at + length] = random.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * length
            else:
                one[at : at + random.choice((0, length))] = random.choice(dictionary)
        yield bytes(one)
