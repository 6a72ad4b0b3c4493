"""Plays the agents of all nodes in one process: one watch of ModelServers, one clock, and a bounded
number of reports under way.

Of each event only the generation is looked at before anything else: nine of ten are the echo of a
report. Answers of the API server are asked for as metadata only, and not parsed.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import orjson

from modelyard.kube.connection import Connection
from modelyard.kube.kinds import by_name

from ..api import MERGE, METADATA_ONLY, SPACE, write_name
from .agent import NEVER, Agent, Manifest
from .config import FleetConfig

SERVERS = by_name("ModelServer")
FIGURES = "figures or a sign of life"
WATCH_SECONDS = 600
PAGE = 500
RETRY_SECONDS = 2.0
LATE_SAMPLES = 200_000


class Simulator:
    """All agents of a namespace."""

    def __init__(self, connection: Connection, config: FleetConfig, written: Counter[str]) -> None:
        """`written` counts its writes, by the name that the API server's counters give them."""
        self._connection, self._config, self._written = connection, config, written
        self._session = connection.session(limit=config.writers + 4)
        self.configs: dict[str, FleetConfig] = {}
        """Settings of some Deployments' servers; the others have the general ones."""
        self.agents: dict[str, Agent] = {}
        """By ModelServer."""
        self.dark: set[str] = set()
        """Nodes whose agents are cut off."""
        self.mature = False
        """See Agent.mature."""
        self.told: dict[tuple[str, int], set[str]] = {}
        """(Deployment, version) → nodes that were ever told to serve it."""
        self.late: list[float] = []
        """Seconds between the moment at which an agent wanted to write and its write."""
        self.refused: Counter[int] = Counter()
        """Reports that were not taken, by HTTP status; 0: no answer."""
        self.reports: Counter[str] = Counter()
        """Sent so far, by the phase that they tell of; FIGURES for those that tell of none."""
        self._heap: list[tuple[float, int, Agent]] = []
        self._planned: dict[Agent, float] = {}
        self._count = 0
        self._new, self._going = asyncio.Event(), asyncio.Event()
        self._going.set()
        self._speaking: asyncio.Queue[tuple[float, Agent]] = asyncio.Queue()
        self._queued: set[Agent] = set()

    @classmethod
    @asynccontextmanager
    async def running(
        cls, kubeconfig: Path, config: FleetConfig, written: Counter[str]
    ) -> AsyncIterator[Simulator]:
        """A simulator at work."""
        made = cls(await Connection.open(str(kubeconfig)), config, written)
        tasks = [asyncio.create_task(made._watch()), asyncio.create_task(made._tick())]
        tasks += [asyncio.create_task(made._write()) for _ in range(config.writers)]
        failed = asyncio.create_task(_first_error(tasks))
        try:
            yield made
            if failed.done():
                failed.result()
        finally:
            for task in (*tasks, failed):
                task.cancel()
            await asyncio.gather(*tasks, failed, return_exceptions=True)
            await made._session.close()

    # People's hands.

    def cut_off(self, nodes: Iterable[str]) -> None:
        """The agents of these nodes neither hear nor say anything from now on."""
        chosen = set(nodes)
        self.dark |= chosen
        for agent in self.agents.values():
            if agent.node in chosen:
                agent.leave()

    def let_back(self, nodes: Iterable[str]) -> None:
        """They hear and report again."""
        chosen = set(nodes)
        self.dark -= chosen
        now = time.time()
        for agent in self.agents.values():
            if agent.node in chosen and not agent.online:
                agent.come_back(now)
                self.plan(agent)

    def see(self, agent: Agent, drift: Manifest) -> None:
        """What an agent sees of drift has changed: an api.monitoring.DriftStatus."""
        agent.see_drift(drift, time.time())
        self.plan(agent)

    def holding(self, deployment: str, version: int, *, among: set[str] | None = None) -> int:
        """Servers of a Deployment that serve a version."""
        return sum(
            agent.held is not None
            and agent.held.version == version
            and (among is None or agent.node in among)
            for agent in self.agents.values()
            if agent.server is not None and agent.server["spec"]["deployment"] == deployment
        )

    async def idle(self) -> bool:
        """Whether everything that agents wanted to say by now is said."""
        return not self._queued and (not self._heap or self._heap[0][0] > time.time())

    # Hearing.

    async def _watch(self) -> None:
        while True:
            try:
                version = await self._list()
                await self._follow(version)
            except (aiohttp.ClientError, TimeoutError, _Broken):
                await asyncio.sleep(0.5)

    async def _list(self) -> str:
        names, token = set(), ""
        while True:
            path = f"{SERVERS.path(SPACE)}?limit={PAGE}&continue={token}"
            async with self._session.get(f"{self._connection.server}{path}") as answer:
                if answer.status != 200:
                    raise _Broken
                page = orjson.loads(await answer.read())
            for item in page["items"]:
                names.add(item["metadata"]["name"])
                self._see(item)
            token = page["metadata"].get("continue") or ""
            if not token:
                break
        for name in self.agents.keys() - names:
            self.agents[name].gone()
        return str(page["metadata"]["resourceVersion"])

    async def _follow(self, version: str) -> None:
        query = f"?watch=1&resourceVersion={version}&timeoutSeconds={WATCH_SECONDS}"
        url = f"{self._connection.server}{SERVERS.path(SPACE)}{query}"
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.get(url, timeout=timeout) as answer:
            if answer.status != 200:
                raise _Broken
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise _Broken
                    self._take(event["type"], event["object"])

    def _take(self, event: str, obj: Manifest) -> None:
        if event == "DELETED":
            agent = self.agents.get(obj["metadata"]["name"])
            if agent is not None:
                agent.gone()
        else:
            self._see(obj)

    def _see(self, obj: Manifest) -> None:
        spec, name = obj["spec"], obj["metadata"]["name"]
        deployment, node = spec["deployment"], spec.get("nodeName") or spec["podName"]
        agent = self.agents.get(name)
        if agent is None:
            config = self.configs.get(deployment, self._config)
            agent = self.agents[name] = Agent(node, config)
            agent.mature = self.mature
            if node in self.dark:
                agent.leave()
        agent.mature = self.mature
        known = (deployment, spec["assigned"]["version"])
        self.told.setdefault(known, set()).add(node)
        agent.see(obj, time.time())
        self.plan(agent)

    # Doing.

    def pause(self) -> None:
        """Time stands still for all agents: nobody works, nobody reports."""
        self._going.clear()

    def resume(self) -> None:
        """Time goes on."""
        self._going.set()

    def plan(self, agent: Agent) -> None:
        """Wakes an agent when it has something to do or, unless it is about to, to say."""
        at = agent.works_at
        if agent not in self._queued:
            at = min(at, agent.speaks_at)
        if at == NEVER or at >= self._planned.get(agent, NEVER):
            return
        self._planned[agent] = at
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, agent))
        if self._heap[0][2] is agent:
            self._new.set()

    async def _tick(self) -> None:
        while True:
            await self._going.wait()
            now = time.time()
            while self._heap and self._heap[0][0] <= now:
                at, _, agent = heapq.heappop(self._heap)
                if self._planned.get(agent) != at:
                    continue  # It was planned again, for an earlier moment.
                del self._planned[agent]
                if agent.wake(now) and agent not in self._queued:
                    self._queued.add(agent)
                    self._speaking.put_nowait((agent.speaks_at, agent))
                self.plan(agent)
            self._new.clear()
            wait = self._heap[0][0] - time.time() if self._heap else 1.0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(max(wait, 0.0), 1.0)):
                    await self._new.wait()

    # Saying.

    async def _write(self) -> None:
        while True:
            at, agent = await self._speaking.get()
            now = time.time()
            patch = agent.speak(now)
            if patch is not None:
                if len(self.late) < LATE_SAMPLES:
                    self.late.append(now - at)
                status = await self._patch(agent, patch)
                if status >= 400 or status == 0:
                    self.refused[status] += 1
                    if status not in (404, 409):  # Gone or replaced: the watch says.
                        agent.unsaid(time.time(), RETRY_SECONDS)
            self._queued.discard(agent)
            self.plan(agent)

    async def _patch(self, agent: Agent, patch: Manifest) -> int:
        assert agent.server is not None
        path = SERVERS.path(SPACE, agent.server["metadata"]["name"], "status")
        self._written[write_name("PATCH", SERVERS.plural, "status")] += 1
        self.reports[patch["status"].get("phase") or FIGURES] += 1
        try:
            async with self._session.patch(
                f"{self._connection.server}{path}?fieldManager=modelyard-agent",
                data=orjson.dumps(patch),
                headers={**MERGE, "Accept": METADATA_ONLY},
            ) as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0


class _Broken(Exception):
    """A list or watch must begin anew."""


async def _first_error(tasks: list[asyncio.Task[None]]) -> None:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()
