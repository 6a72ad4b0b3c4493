"""A real Prometheus that the test starts, stops and freezes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from modelyard_local.cluster import ensure
from modelyard_local.cluster.binaries import cached
from modelyard_local.cluster.pki import Pair

from ..process import free_port
from ..waiting import until

SCRAPES = "500ms"
"""Time between two looks at a target. A rate needs two of them."""
WINDOW = "5s"
"""Of the tests' rates."""
MOST_SECONDS = 30


def built(tool: str, *, build: bool = False) -> Path:
    """`prometheus` or `promtool`. Where it would have to be built first, which takes minutes, the
    test is skipped unless `build` or MODELYARD_SLOW_TESTS says otherwise."""
    there = os.access(cached(tool), os.X_OK)
    if not (there or build or "MODELYARD_SLOW_TESTS" in os.environ):
        pytest.skip(f"{tool} has to be built first, which takes minutes: MODELYARD_SLOW_TESTS=1")
    return ensure(tool)


class Server:
    """Prometheus on a loopback port; what it has scraped outlives a restart."""

    def __init__(
        self,
        folder: Path,
        *,
        prefix: str = "",
        login: Mapping[str, str] | None = None,
        certificate: Pair | None = None,
    ):
        """`prefix` is a path below which everything lies, as behind an ingress; `login` has users
        with their passwords' bcrypt hashes; `certificate` makes it speak TLS."""
        self._folder, self._prefix = folder, prefix
        self.port = free_port()
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}{prefix}"
        web: dict[str, Any] = {"basic_auth_users": dict(login or {})}
        if certificate:
            files = {"cert_file": str(certificate.certificate), "key_file": str(certificate.key)}
            web["tls_server_config"] = files
        (folder / "web.yaml").write_text(yaml.safe_dump(web))
        self._flags = [
            f"--web.route-prefix={prefix or '/'}",
            f"--web.config.file={folder / 'web.yaml'}",
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._jobs: list[dict[str, Any]] = []
        self._rules: list[str] = []
        self._http = httpx.Client(trust_env=False, timeout=30, verify=False)

    @property
    def log(self) -> Path:
        return self._folder / "prometheus.log"

    def scrape(self, job: str, port: int, **labels: str) -> None:
        """Have a target scraped, from the next start on."""
        target = {"targets": [f"127.0.0.1:{port}"], "labels": labels}
        self._jobs.append({"job_name": job, "static_configs": [target]})

    def rules(self, path: Path) -> None:
        """Have the rules of a file evaluated, from the next start on."""
        self._rules.append(str(path))

    def start(self) -> None:
        """Start it and wait until it answers queries."""
        config = {
            "global": {"scrape_interval": SCRAPES, "evaluation_interval": SCRAPES},
            "rule_files": self._rules,
            "scrape_configs": self._jobs,
        }
        path = self._folder / "prometheus.yaml"
        path.write_text(yaml.safe_dump(config))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    # A test run that is killed takes the server with it, and so does the end of
                    # the thread that started it.
                    *("setpriv", "--pdeathsig", "KILL"),
                    str(built("prometheus")),
                    f"--config.file={path}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--log.level=warn",
                    *self._flags,
                ],
                stdout=log,
                stderr=log,
            )
        until(self._ready, MOST_SECONDS, "Prometheus to be ready")

    def stop(self) -> None:
        """End it in order; nothing happens if it does not run."""
        if self._process is not None:
            self.thaw()
            self._process.terminate()
            self._process.wait(MOST_SECONDS)
            self._process = None

    def freeze(self) -> None:
        """It takes connections and answers nothing, as one that is overloaded."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        # "pid (name) state …": its last thread may go on for a moment.
        stat = Path(f"/proc/{self._process.pid}/stat")
        until(lambda: stat.read_text().rpartition(") ")[2].startswith("T"), what="it to stop")

    def thaw(self) -> None:
        """Take `freeze` back."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, path: str, **params: str) -> Any:
        """The `data` of an API answer."""
        answer = self._http.get(f"{self.url}/api/v1/{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def vector(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series."""
        found = self.ask("query", query=query)["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def knows(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of a query, once it gives something."""
        return until(lambda: self.vector(query), MOST_SECONDS, f"an answer to {query}", pause=0.2)

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-3000:]
        try:
            # 401: it asks who we are, so it is there.
            return self._http.get(f"{self.url}/-/ready").status_code in (200, 401)
        except httpx.HTTPError:
            return False
