"""Plays a workload with a fault, and compares all that comes of it with the reference run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from . import normal
from .actor import Actor
from .conditions import CALM, ONE_WORKER, Conditions
from .families import FAMILIES, Planned, World
from .invariants import violations
from .plans import Plan
from .scene import Scene
from .site import Forked, Site
from .workloads.workload import Step, Workload

QUIET_SECONDS = 0.06
"""Without traffic for so long, and with nothing due, the operator is idle."""
REFERENCE_QUIET_SECONDS = 1.5
"""The Job controller examines ended pods a second later."""
STEP_SECONDS = 60.0
"""A step that takes longer hangs."""
ASK_SECONDS = 0.5
"""The operator is asked again after so long whether it is idle, if nothing has happened."""
RESYNCS = 3


class Failed(AssertionError):
    """The operator did not cope; the text says where."""


@dataclass
class Record:
    """What a run came to."""

    states: list[list[str]] = field(default_factory=list)
    """After each step."""
    changes: list[Counter[str]] = field(default_factory=list)
    """Up to the end of each step."""
    events: Counter[str] = field(default_factory=Counter)
    """How often each Event was created."""
    calls: list[str] = field(default_factory=list)
    """Names of the operator's writes, in order."""
    reached: bool = True
    """Whether the fault has struck, if there was one."""


class Run:
    """One run of a workload in a namespace of its own."""

    def __init__(
        self,
        site: Site,
        workload: Workload,
        space: str,
        *,
        plan: Plan | None = None,
        reference: Record | None = None,
        conditions: Conditions = CALM,
    ) -> None:
        """With a plan it is judged by the reference; without one it is a reference run."""
        self._site, self._workload = site, workload
        self._proxy, self._journal = site.proxy, site.journal
        self.scene = Scene(site.admin, site.journal, space)
        self._actor = Actor(self.scene, workload.script, workload.served)
        self._world = World(site.proxy)
        self._plan, self._conditions = plan, conditions
        self._fault: Planned | None = None
        self._settings = conditions.settings
        if plan is not None:
            self._fault = FAMILIES[plan.family](self._world, plan.write.name, plan.random)
            self._settings = ONE_WORKER if plan.kills else {}
        self._reference = reference
        self._settled = (0.0, 0.0)
        """When something had happened last, and when, when the operator last said it is idle."""
        self._seen: tuple[float, bool] = (0.0, False)
        """When something had happened last, and whether the state was the reference's then."""
        self.record = Record()
        self.log = site.folder / f"{space}.log"

    def play(self) -> Record:
        """The whole workload. Raises Failed."""
        with self._conditions.in_force():
            return self._play()

    def _play(self) -> Record:
        version = self.scene.prepare()
        self._workload.prepare(self.scene)
        self._proxy.reset(self._fault or self._conditions.disturbance(), version)
        self._start()
        left_alone = False
        try:
            for number, step in enumerate(self._workload.steps):
                self._until(self._quiet, f"the operator is idle before: {step.name}")
                step.act(self.scene)
                self._until(lambda step=step: step.done(self.scene), f"done: {step.name}")
                self._check(number, step)
                if step.last_of_life and self._struck:
                    self._leave_alone()
                    left_alone = True
            if not left_alone:
                self._leave_alone()
            self._judge()
        except AssertionError as error:
            raise Failed(f"{error}\n{self._diagnosis()}") from None
        return self.record

    def clean(self) -> None:
        """Stop the operator and remove what is left."""
        if self._world.pid:
            self._operator.kill()
        self._proxy.reset()
        self.scene.clear()
        deadline = time.monotonic() + 30
        while not self.scene.empty() and time.monotonic() < deadline:
            self.scene.tidy()
            time.sleep(0.05)
        self.scene.remove()
        self._journal.forget(self.scene.namespace)

    # The operator.

    def _start(self) -> None:
        env = self._fault.env if self._fault is not None else {}
        self._operator = Forked(self._site, self.log, {**self._settings, **env})
        self._world.pid = self._operator.pid
        self._settled = (0.0, 0.0)

    def _restart(self) -> None:
        self._operator.reap()
        self._proxy.restore()
        self._start()

    def _supervise(self) -> None:
        """As a kubelet would: start what has been killed."""
        alive = self._operator.alive  # Before the flag, which is set before the kill.
        if self._world.killed:
            self._world.killed = False
            self._restart()
            assert self._fault is not None
            self._fault.started()
        elif not alive:
            raise Failed(f"the operator ended by itself, exit code {self._operator.reap()}")

    @property
    def _struck(self) -> bool:
        return self._fault is None or self._fault.fired

    # Time.

    def _until(self, check: Callable[[], object], what: str) -> None:
        """Play on until something is so."""
        deadline = time.monotonic() + STEP_SECONDS
        while not check():
            if time.monotonic() > deadline:
                raise Failed(f"not within {STEP_SECONDS:.0f} s: {what}")
            self._turn()

    def _turn(self) -> None:
        self._supervise()
        if not (self._quiet() and self._actor.act()):
            time.sleep(0.02)

    def _touched(self) -> float:
        """When anything happened last that may make anybody act."""
        return max(self._proxy.touched, self._journal.touched(self.scene.namespace))

    def _quiet(self, seconds: float = QUIET_SECONDS) -> bool:
        """Whether the operator is up and has done all that there is to do."""
        since = self._touched()
        if self._world.killed or self._proxy.inflight or time.monotonic() - since < seconds:
            return False
        asked, at = self._settled
        if asked != since or time.monotonic() - at > ASK_SECONDS:
            if not self._operator.settled() or self._touched() != since:
                return False
            self._settled = since, time.monotonic()
        return not self._world.killed

    # The oracle.

    def _state(self) -> list[str]:
        space = self.scene.namespace
        live = {kind: self._journal.live(kind, space) for kind in normal.EXAMINED}
        return normal.state(self._journal.history(space), live, space)

    def _changes(self) -> Counter[str]:
        return normal.changes(self._journal.history(self.scene.namespace))

    def _check(self, number: int, step: Step) -> None:
        """The state after a step is, and stays, that of the reference."""
        if self._reference is None:
            self._until(lambda: self._quiet(REFERENCE_QUIET_SECONDS), f"idle after: {step.name}")
        else:
            self._seen = (0.0, False)
            try:
                self._until(
                    lambda: self._quiet() and self._equal(number),
                    f"the reference's state after: {step.name}",
                )
            except Failed as error:
                raise Failed(f"{error}\n{self._difference(number)}") from None
        self.record.states.append(self._state())
        self.record.changes.append(self._changes())

    def _equal(self, number: int) -> bool:
        assert self._reference is not None
        since = self._touched()
        if self._seen[0] != since:
            equal = self._changes() == self._reference.changes[number]
            self._seen = since, equal and self._state() == self._reference.states[number]
        return self._seen[1]

    def _difference(self, number: int) -> str:
        assert self._reference is not None
        texts = [normal.differences(self._reference.states[number], self._state())]
        wanted, found = self._reference.changes[number], self._changes()
        texts += [
            f"{what}: {found[what]} times instead of {wanted[what]}"
            for what in sorted(wanted.keys() | found.keys())
            if wanted[what] != found[what]
        ]
        return "\n".join(texts)

    def _leave_alone(self) -> None:
        """Neither resyncs nor a restart write anything."""
        if self._fault is not None:
            self._fault.end()
        self._until(self._quiet, "the operator is idle")
        made = len(self._proxy.calls)
        for _ in range(RESYNCS):
            self._operator.resync()
        self._operator.kill()
        self._start()
        self._until(self._quiet, "the operator is idle after a restart")
        more = [str(call) for call in self._proxy.calls[made:]]
        if more:
            raise Failed(f"resyncs or a restart with nothing changed wrote: {', '.join(more)}")

    def _judge(self) -> None:
        space = self.scene.namespace
        history = self._journal.history(space)
        self.record.events = normal.events(history)
        self.record.calls = [str(call) for call in self._proxy.calls]
        problems = violations(history)
        if self._fault is not None:
            problems += self._fault.broken
            self.record.reached = self._fault.fired
            if not self._fault.fired and self._plan is not None and self._plan.write.certain:
                problems.append(f"the fault was not reached: no {self._fault.at}")
        if self._reference is not None:
            problems += [
                f"{count} Events instead of at most {self._reference.events[event]}: {event}: "
                + " | ".join(normal.notes(history, event))
                for event, count in self.record.events.items()
                if count > self._reference.events[event]
            ]
        if self._journal.error is not None:
            problems.append(f"the oracle is blind: {self._journal.error!r}")
        if problems:
            raise Failed("\n".join(problems))

    def _diagnosis(self) -> str:
        """What people need to understand a failure."""
        calls = "\n".join(f"{call.number:3} {call}" for call in self._proxy.calls)
        log = self.log.read_text()[-6000:]
        return f"writes:\n{calls}\nlog of the operator, {self.log}:\n{log}"
