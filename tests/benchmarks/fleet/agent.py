"""One played agent: what it does with its ModelServer, and when, without a clock or a network.

It follows `modelyard.workloads.agent` and makes its statuses with the agent's own builders. What
costs time there (fetching, loading) is a moment here at which it will be over.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from modelyard.api.modelserver import (
    Assignment,
    LoadedVersion,
    ModelServerStatus,
    ServedPeriod,
    ShadowFigures,
    StagedVersion,
)
from modelyard.api.modelserver import ModelServerPhase as Phase
from modelyard.contract.run import OFTEN_SECONDS
from modelyard.contract.statustext import timestamp
from modelyard.workloads.agent.report import PROGRESS_SECONDS, SETTLE_SECONDS, YOUNG
from modelyard.workloads.agent.retry import Cause, Retries
from modelyard.workloads.agent.status import (
    Beside,
    Reason,
    Report,
    build,
    difference,
    in_progress,
)

from .config import FleetConfig
from .traffic import Traffic

Manifest = dict[str, Any]
NEVER = math.inf
PERIODS = 10
HOUR = 3600.0


@lru_cache(maxsize=256)
def _assignment(text: bytes) -> Assignment:
    return Assignment.model_validate_json(text)


def read_assignment(raw: Manifest | None) -> Assignment | None:
    """An Assignment of a spec; thousands of servers have the same one."""
    return _assignment(orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)) if raw else None


class Agent:
    """The agent of one server. All moments are seconds since the epoch."""

    def __init__(self, node: str, config: FleetConfig) -> None:
        self.node, self._config = node, config
        self._rng = rng = config.rng("agent", node)
        spread = config.node_spread
        asked = rng.random() < config.asked
        self._traffic = Traffic(
            config.seed,
            node,
            rate=config.requests * rng.lognormvariate(0.0, spread) if asked else 0.0,
            speed=rng.lognormvariate(0.0, spread),
        )
        self.online = True
        self.mature = False
        """Whether what it loads is said to answer for an hour already: a fleet that has served
        for a while is made so."""
        self.server: Manifest | None = None
        self.held: LoadedVersion | None = None
        self._wanted: Assignment | None = None
        self._generation: int | None = None
        self._disk: set[str] = set()
        self._job: tuple[str, float] | None = None
        """fetch or load, and when it will be over."""
        self._held_at = 0.0
        self._retries = Retries(jitter=rng.random)
        self._failure: tuple[Reason, str] | None = None
        self._stage: tuple[Assignment, float] | None = None
        self._staged: StagedVersion | None = None
        self._shade: tuple[Assignment, float, float] | None = None
        """What is shadowed, its share, and when it runs."""
        self._shadow: ShadowFigures | None = None
        self._shadow_at = 0.0
        self._history: list[ServedPeriod] = []
        self.accepts = False
        """Whether what it sees stops to be drift once somebody accepts it."""
        self._drift: Manifest | None = None
        """What it knows of drift, where it is asked to look for it."""
        self._drift_said: Manifest | None = None
        self._report: Report | None = None
        self._status = ModelServerStatus()
        self._settled = NEVER
        """When a change is old enough to be told."""
        self._due = NEVER
        self._beat_due = 0.0

    # What it is told.

    def see(self, server: Manifest, now: float) -> None:
        """Takes in a state of its ModelServer, unless it is older than the last one."""
        known = self.server
        if known is not None:
            one, other = server["metadata"], known["metadata"]
            same = one["uid"] == other["uid"]
            if same and int(one["resourceVersion"]) < int(other["resourceVersion"]):
                return
            if not same:
                self._status = ModelServerStatus()
        self.server = server
        if self.online:
            self._read(now)

    def gone(self) -> None:
        """Its ModelServer is gone; it keeps what it serves."""
        self.server = None
        self._status = ModelServerStatus()

    def leave(self) -> None:
        """Cut off: what it serves it goes on serving, and hears and says nothing."""
        self.online = False
        self._job = self._stage = self._shade = None
        self._settled = self._due = NEVER

    def come_back(self, now: float) -> None:
        """The network is there again: it looks at its ModelServer, and says that it is there."""
        self.online = True
        self._beat_due = 0.0
        self._generation = None
        if self.server is not None:
            self._read(now)
        self._settled = now + SETTLE_SECONDS

    def _read(self, now: float) -> None:
        server = self.server
        assert server is not None
        generation = server["metadata"].get("generation")
        if generation == self._generation:
            return
        first = self._due == NEVER
        self._generation = generation
        if first:
            self._due = now + self._config.report_seconds * self._rng.random()
        spec = server["spec"]
        wanted = read_assignment(spec["assigned"])
        assert wanted is not None
        if wanted != self._wanted:
            self._wanted = wanted
            self._retries.reset()
            self._failure, self._job = None, None
        self._want_staged(read_assignment(spec.get("staged")), now)
        self._want_shadow(spec.get("shadow"), now)
        self._want_drift(spec.get("monitoring") or {}, now)
        self._work(now)

    def _want_drift(self, asked: Manifest, now: float) -> None:
        """Its baseline is complete as soon as it is asked to monitor: what calibrates for days is
        not the operator's business."""
        if "drift" not in asked:
            self.see_drift(None, now)
            return
        known = self._drift or {"state": "Stable", "sources": 1, "calibrated": 1}
        accepted = asked.get("accepted")
        if accepted and known.get("accepted") != accepted:
            calm = {k: v for k, v in known.items() if k not in ("findings", "alarmSince")}
            known = (calm | {"state": "Stable"}) if self.accepts else known
            known = known | {"accepted": accepted}
        self.see_drift(known, now)

    def see_drift(self, drift: Manifest | None, now: float) -> None:
        """What it sees has changed: it says so at once."""
        if drift != self._drift:
            self._drift = drift
            self._changed(now)

    def _want_staged(self, wanted: Assignment | None, now: float) -> None:
        if wanted is None:
            if self._staged is not None or self._stage is not None:
                self._staged = self._stage = None
                self._changed(now)
            return
        there = self._staged is not None and self._staged.digest == wanted.digest
        if not there and (self._stage is None or self._stage[0] != wanted):
            known = wanted.digest in self._disk
            over = now if known else now + self._config.fetch.draw(self._rng)
            self._stage, self._staged = (wanted, over), None

    def _want_shadow(self, raw: Manifest | None, now: float) -> None:
        wanted = read_assignment(raw["version"]) if raw else None
        if wanted is None or raw is None:
            if self._shade is not None:
                self._shade = self._shadow = None
                self._changed(now)
        elif self._shade is None or self._shade[0] != wanted:
            fetch = 0.0 if wanted.digest in self._disk else self._config.fetch.draw(self._rng)
            runs = now + fetch + self._config.load.draw(self._rng)
            self._shade, self._shadow = (wanted, float(raw["share"]), runs), None

    # What it does.

    @property
    def works_at(self) -> float:
        """When it has something to do."""
        if not self.online or self.server is None:
            return NEVER
        at = NEVER
        if self._job is not None:
            at = self._job[1]
        elif self._failure is not None:
            at = self._retries.next_try
        if self._stage is not None:
            at = min(at, self._stage[1])
        if self._shade is not None and self._shadow is None:
            at = min(at, self._shade[2])
        return at

    @property
    def speaks_at(self) -> float:
        """When it has something to say."""
        if not self.online or self.server is None:
            return NEVER
        return min(self._settled, self._due)

    def wake(self, now: float) -> bool:
        """Does what is due; whether it wants to write its status."""
        if not self.online or self.server is None:
            return False
        if self._stage is not None and now >= self._stage[1]:
            wanted = self._stage[0]
            self._disk.add(wanted.digest)
            self._stage = None
            self._staged = StagedVersion(
                model_version=wanted.model_version,
                version=wanted.version,
                digest=wanted.digest,
                manifest_digest=wanted.manifest_digest,
            )
            self._changed(now)
        if self._shade is not None and self._shadow is None and now >= self._shade[2]:
            wanted = self._shade[0]
            self._disk.add(wanted.digest)
            self._shadow, self._shadow_at = self._traffic.start_shadow(wanted), now
            if not self._config.loads(self.node, wanted.version):
                text = _unloadable(wanted)
                self._shadow = self._shadow.model_copy(update={"failure": text})
            self._changed(now)
        self._work(now)
        return now >= self.speaks_at

    def _work(self, now: float) -> None:
        """Goes on with the assigned version as far as it can by now."""
        wanted = self._wanted
        if wanted is None:
            return
        if self._holds(wanted):
            self._failure = None
            self._say(now, Phase.READY, Reason.SERVING, f"{wanted.model_version} answers")
            return
        if self._job is None and now >= self._retries.next_try:
            known = wanted.digest in self._disk
            self._start("load" if known else "fetch", wanted, now)
        if self._job is not None and self._job[0] == "fetch" and now >= self._job[1]:
            if self._rng.random() < self._config.fetch_failures:
                text = "the store cannot be reached"
                self._fail(now, Cause.FETCH, Reason.STORE_UNAVAILABLE, text)
                return
            self._disk.add(wanted.digest)
            self._start("load", wanted, now)
        if self._job is not None and self._job[0] == "load" and now >= self._job[1]:
            if not self._config.loads(self.node, wanted.version):
                self._fail(now, Cause.LOAD, Reason.LOAD_FAILED, _unloadable(wanted))
                return
            self._serve(wanted, now)

    def _start(self, what: str, wanted: Assignment, now: float) -> None:
        span = self._config.fetch if what == "fetch" else self._config.load
        self._job = (what, now + span.draw(self._rng))
        phase, reason = (
            (Phase.FETCHING, Reason.FETCHING)
            if what == "fetch"
            else (Phase.LOADING, Reason.LOADING)
        )
        if not self._retries.failures:
            self._say(now, phase, reason, f"{reason.lower()} {wanted.model_version}")

    def _fail(self, now: float, cause: Cause, reason: Reason, text: str) -> None:
        self._job = None
        self._retries.failed(cause, now)
        self._failure = (reason, text)
        passing = cause is Cause.FETCH and self._retries.failures < 3
        kept = f" (version {self.held.version} keeps serving)" if self.held else ""
        self._say(
            now,
            Phase.FETCHING if passing else Phase.FAILED,
            reason,
            text + kept,
            stalled=cause is not Cause.FETCH,
        )

    def _serve(self, wanted: Assignment, now: float) -> None:
        self._job = self._failure = None
        self._retries.reset()
        since = now - HOUR if self.mature else now
        if self.held is not None:
            ended = ServedPeriod(
                model_version=self.held.model_version,
                version=self.held.version,
                digest=self.held.digest,
                since=self.held.since,
                until=_moment(since),
            )
            self._history = [ended, *self._history][:PERIODS]
        self.held = LoadedVersion(
            model_version=wanted.model_version,
            version=wanted.version,
            digest=wanted.digest,
            manifest_digest=wanted.manifest_digest,
            content_digest=wanted.content_digest,
            pipeline=wanted.pipeline,
            since=_moment(since),
        )
        self._held_at = since
        self._traffic.loaded(self.held)
        self._say(now, Phase.READY, Reason.SERVING, f"{wanted.model_version} answers")

    def _holds(self, wanted: Assignment) -> bool:
        held = self.held
        return held is not None and (held.digest, held.pipeline, held.version) == (
            wanted.digest,
            wanted.pipeline,
            wanted.version,
        )

    # What it says.

    def _say(
        self, now: float, phase: Phase, reason: Reason, message: str, *, stalled: bool = False
    ) -> None:
        report = Report(
            phase=phase,
            reason=reason,
            message=message,
            generation=self._generation,
            loaded=self.held,
            failures=self._retries.failures,
            stalled=stalled,
        )
        if report != self._report:
            self._report = report
            self._changed(now, PROGRESS_SECONDS if in_progress(report) else SETTLE_SECONDS)

    def _changed(self, now: float, after: float = SETTLE_SECONDS) -> None:
        self._settled = min(self._settled, now + after)

    def speak(self, now: float) -> Manifest | None:
        """The body of a merge patch of its ModelServer's status; None if there is nothing to say.
        What follows from it is taken for written: call `unsaid` where it was not."""
        server, report = self.server, self._report
        self._settled = NEVER
        if not self.online or server is None or report is None:
            return None
        measured = now >= self._due
        after = now + self._often(now) * self._rng.uniform(0.9, 1.1)
        self._due = after if measured else min(self._due, after)
        moment = datetime.fromtimestamp(now, UTC)
        wanted = build(report, self._status, self._beside(now), moment)
        patch = difference(self._status, wanted, measured=measured)
        if self._drift != self._drift_said:
            gone = dict.fromkeys(self._drift_said or ())
            patch["drift"] = gone | self._drift if self._drift is not None else None
            self._drift_said = self._drift
        if not patch and now < self._beat_due:
            return None
        patch["reportedAt"] = timestamp(moment)
        self._status = wanted
        self._due = after
        self._beat_due = now + self._config.report_seconds * 0.9
        return {"metadata": {"uid": server["metadata"]["uid"]}, "status": patch}

    def unsaid(self, now: float, delay: float) -> None:
        """The last patch did not arrive: all is said again, after `delay` seconds."""
        self._status = ModelServerStatus()
        self._drift_said = None
        self._beat_due = 0.0
        if self.online:
            self._settled = now + delay

    def _beside(self, now: float) -> Beside:
        held, figures = self.held, None
        if held is not None:
            behaviour = self._config.behaviour(held.version)
            figures = self._traffic.figures(held.version, behaviour, now - self._held_at)
        if (
            self._shade is not None
            and self._shadow is not None
            and self._shadow.failure is None
            and held is not None
        ):
            self._shadow = self._traffic.shadow(
                self._shadow,
                self._shade[1],
                now - self._shadow_at,
                stable=self._config.behaviour(held.version),
                candidate=self._config.behaviour(self._shade[0].version),
            )
            self._shadow_at = now
        return Beside(
            staged=self._staged,
            shadow=self._shadow,
            history=tuple(self._history),
            figures=figures,
        )

    def _often(self, now: float) -> float:
        """Seconds until the next report if nothing changes: as agent.report has it."""
        config = self._config
        asked = (self.server or {}).get("spec", {}).get("reportSeconds") or OFTEN_SECONDS
        often = float(asked) if config.often_seconds is None else config.often_seconds
        young = YOUNG.total_seconds() if config.young_seconds is None else config.young_seconds
        watched = self._shade is not None or (self.held is not None and self._held_at > now - young)
        return min(often, config.report_seconds) if watched else config.report_seconds


def _moment(seconds: float) -> str:
    return timestamp(datetime.fromtimestamp(seconds, UTC))


def _unloadable(version: Assignment) -> str:
    return f"Triton could not load {version.model_version}: out of memory"
