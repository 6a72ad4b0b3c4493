"""What pods say: results of Jobs, statuses of agents, run specs. A pod may be anybody's, so what it
says is judged, and never breaks who reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from modelyard.api import kind_info
from modelyard.api.crd import render
from modelyard.contract.result import MAX_BYTES, Outcome, parse_outcome
from modelyard.contract.run import AgentRun, StoreLocation, dump_run, parse_run
from modelyard.core.plan import Plan

from ..core.cluster import Cluster
from .harness import BATCH, MIB, Target, chance, damaged, fuzz

RESULTS = Target("result messages", memory=16 * MIB)
STATUSES = Target("ModelServer statuses", memory=16 * MIB)
RUNS = Target("run specs", memory=16 * MIB)

JSON_WORDS = (
    b"null", b"true", b"{}", b"[]", b"[[[[", b"1e999", b"NaN", b"-1", b"9" * 400, b'"\\ud800"',
    b'"\\u0000"', b'"data":{', b'"result":', b'"train":', b'"metrics":{"a":', b",", b":", b'"',
    b'"sha256:' + b"0" * 64 + b'"',
)  # fmt: skip
texts = st.text(max_size=300)
outcomes = st.one_of(
    st.fixed_dictionaries({"reason": texts, "message": texts}),
    st.fixed_dictionaries(
        {
            "reason": st.just("Succeeded"),
            "data": st.fixed_dictionaries(
                {
                    "valid": st.booleans(),
                    "images": st.integers(),
                    "problems": st.lists(texts, max_size=12),
                    "classes": st.lists(
                        st.fixed_dictionaries(
                            {"id": st.integers(), "name": texts, "boxes": st.integers()}
                        ),
                        max_size=20,
                    ),
                }
            ),
        }
    ),
    st.fixed_dictionaries(
        {
            "train": st.fixed_dictionaries(
                {
                    "weightsDigest": texts,
                    "metrics": st.dictionaries(texts, st.floats(), max_size=5),
                    "epochs": st.integers(),
                    "imgsz": st.integers(),
                }
            )
        }
    ),
)


@fuzz
@given(outcome=outcomes, random=chance)
def test_result_messages(outcome: dict[str, Any], random: Random) -> None:
    def parse(data: bytes) -> None:
        # A kubelet hands over valid UTF-8 of at most 4096 bytes.
        found = parse_outcome(data[:MAX_BYTES].decode(errors="replace"))
        assert found is None or isinstance(found, Outcome)
        if found is not None:
            found.message.encode()
            assert len(found.termination_message().encode()) <= MAX_BYTES

    RESULTS.feed(damaged(json.dumps(outcome).encode(), random, JSON_WORDS), parse)


RUN = json.loads(
    dump_run(
        AgentRun(
            namespace="shop",
            deployment="cameras",
            model_line="shelf",
            store=StoreLocation(url="s3://modelyard"),
        )
    )
)


@fuzz
@given(
    changes=st.dictionaries(st.sampled_from([*RUN, "other"]), st.one_of(texts, st.integers())),
    random=chance,
)
def test_run_specs(changes: dict[str, Any], random: Random) -> None:
    def parse(data: bytes) -> None:
        with suppress(ValidationError):
            parse_run(data)

    RUNS.feed(damaged(json.dumps({**RUN, **changes}).encode(), random, JSON_WORDS), parse)


SCHEMA = render(kind_info("ModelServer"))["spec"]["versions"][0]["schema"]["openAPIV3Schema"][
    "properties"
]["status"]
TIMES = (
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-02-31T12:00:00Z", "2026-06-30T23:59:60Z",
    "2026-11-28T12:00:00.999999999999Z", "2026-11-28t12:00:00z", "2026-11-28T12:00:00+23:59",
    "2026-11-28T12:00:00-00:00", "12026-11-28T12:00:00Z", "2026-11-28T12:00:00Z",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2**63 - 1, -(2**63), 10**6)


def value_of(schema: dict[str, Any], random: Random) -> Any:
    """A value that the API server accepts: of the right type and within the bounds, no more."""
    if "enum" in schema:
        return random.choice(schema["enum"])
    kind = schema.get("type")
    if kind == "object" and "properties" in schema:
        needed = schema.get("required", ())
        return {
            name: value_of(child, random)
            for name, child in schema["properties"].items()
            if name in needed or random.random() < 0.7
        }
    if kind == "object":
        keys = [text_of(random, 64) for _ in range(random.choice((0, 1, 3)))]
        return {key: value_of(schema["additionalProperties"], random) for key in keys}
    if kind == "array":
        most = schema["maxItems"]
        return [value_of(schema["items"], random) for _ in range(random.choice((0, 1, 2, most)))]
    if kind == "boolean":
        return random.random() < 0.5
    if kind == "integer":
        return random.choice(NUMBERS)
    if kind == "number":
        return random.choice((*NUMBERS, 1e308, -1e308, 5e-324, 0.5))
    if schema.get("format") == "date-time":
        return random.choice(TIMES)
    return text_of(random, schema["maxLength"])


def text_of(random: Random, most: int) -> str:
    length = random.choice((0, 1, 10, most))
    return random.choice(("a", "é", "\0", "\U0001f40d", "\n", "{", "shelf-1"))[:most] * length


def statuses(random: Random) -> Iterator[dict[str, Any]]:
    for _ in range(BATCH):
        yield value_of(SCHEMA, random)


@fuzz
@given(random=chance, edge=st.booleans())
def test_model_server_statuses(random: Random, edge: bool) -> None:
    """Real decisions about a Deployment whose agents report anything that the schema lets them."""
    world = Cluster(*(("a", "b") if edge else ()), edge=edge, replicas=2)
    world.reconcile("Deployment", "cameras")
    world.workloads()
    world.reconcile("Deployment", "cameras")
    servers = world.of("ModelServer")

    def decide(status: dict[str, Any]) -> Plan:
        random.choice(servers)["status"] = status
        return world.plan("Deployment", "cameras")

    STATUSES.feed(statuses(random), decide)
