"""Benchmark `create`: N objects to their children and to their end, four arms side by side."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from . import figures, ours, trainer
from .api import Manifest, Refused
from .arms import JOB, Arm, JobController, RawCreates, job_template
from .processes import TooLong, until
from .report import Goal, Say, Table
from .sampling import Sample, Sampler
from .site import Site, site


@dataclass(frozen=True)
class Size:
    """How many objects, in how many rounds, and in how many of these up to their end."""

    objects: int
    rounds: int
    lives: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`1000x5`, or `5000x3/1` to follow the objects to their end only in the first round.

        Raises ValueError.
        """
        found = re.fullmatch(r"(\d+)x(\d+)(?:/(\d+))?", text)
        if found:
            objects, rounds = int(found[1]), int(found[2])
            made = cls(objects, rounds, int(found[3] or rounds))
            if objects and rounds and made.lives <= rounds:
                return made
        raise ValueError(f"'{text}' is not OBJECTSxROUNDS, nor OBJECTSxROUNDS/LIVES")

    def __str__(self) -> str:
        tail = "" if self.lives == self.rounds else f"/{self.lives}"
        return f"{self.objects}x{self.rounds}{tail}"


@dataclass
class Creation:
    """What was measured."""

    arms: list[str]
    samples: list[Sample]
    failures: list[list[str]]
    """Arm, objects, round and error of every sample that could not be taken."""

    def tables(self) -> list[Table]:
        """Rates, writes and costs, and what failed."""
        made = figures.tables(self.samples)
        if self.failures:
            columns = ["arm", "objects", "round", "error"]
            made.append(Table("Samples that failed", columns, self.failures))
        return made

    def goals(self) -> list[Goal]:
        """Against the other arms, and the writes of a life."""
        return figures.goals(self.samples)

    def dump(self) -> list[dict[str, object]]:
        """The samples as JSON."""
        return [asdict(sample) for sample in self.samples]


async def measure(
    sizes: Sequence[Size], wanted: Sequence[str], workers: int, deadline: float, say: Say
) -> Creation:
    """Measures the arms called `wanted` in turns, each round beginning with another one."""
    binary = trainer.build(say) if trainer.Trainer.name in wanted else None
    async with site(workers) as made:
        arms = await _arms(made, binary, wanted)
        found = Creation([arm.name for arm in arms], [], [])
        for size in sizes:
            for number in range(size.rounds):
                first = number % len(arms)
                for arm in arms[first:] + arms[:first]:
                    title = f"{size.objects:,} objects, round {number + 1}: {arm.label}"
                    sampler = Sampler(made, arm, deadline)
                    life = number < size.lives
                    try:
                        sample = await sampler.take(size.objects, number + 1, life=life)
                    except (TooLong, Refused, ExceptionGroup) as error:
                        # The other samples of half an hour are not lost for it.
                        say(f"{title}: FAILED: {error!r}")
                        row = [arm.name, f"{size.objects:,}", str(number + 1), repr(error)[:300]]
                        found.failures.append(row)
                        continue
                    found.samples.append(sample)
                    say(f"{title}: {_line(sample)}")
        return found


async def _arms(made: Site, binary: Path | None, wanted: Sequence[str]) -> list[Arm]:
    await made.install(ours.crd_files())
    operator = ours.Modelyard(made)
    job = await _child_job(made, operator)
    arms: list[Arm] = [RawCreates(made, job), JobController(made, job), operator]
    if binary is not None:
        peer = trainer.Trainer(made, binary)
        await peer.prepare(job)
        arms.insert(2, peer)
    return [arm for arm in arms if arm.name in wanted]


async def _child_job(made: Site, operator: ours.Modelyard) -> Manifest:
    """What our operator makes of a TrainingJob: all arms handle Jobs of this size."""

    async def there() -> bool:
        return bool(await made.api.items(JOB))

    try:
        await operator.start(1)
        await made.api.create(operator.owner, operator.manifest("bench-00000", 0))
        await until(there, 30, "a Job for a TrainingJob")
        return job_template((await made.api.items(JOB))[0])
    finally:
        operator.stop()


def _line(sample: Sample) -> str:
    cost = sample.created_cpu_ms
    cpu = "" if cost is None else f", {cost:.1f} ms of CPU each"
    return f"{sample.rate:.0f}/s{cpu}"


def run(
    sizes: Sequence[Size], wanted: Sequence[str], workers: int, deadline: float, say: Say
) -> Creation:
    """`measure` in an event loop of its own."""
    return asyncio.run(measure(sizes, wanted, workers, deadline, say))
