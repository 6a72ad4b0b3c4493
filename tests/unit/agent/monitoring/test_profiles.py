"""Which holdout's profile a site is compared with, and when it is fetched."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from modelyard.api.modelserver import Assignment
from modelyard.api.pipeline import Pipeline
from modelyard.workloads.agent.monitoring import profiles
from modelyard.workloads.agent.monitoring.figures import Release
from modelyard.workloads.agent.monitoring.profiles import AGAIN_SECONDS, Profiles
from modelyard.workloads.agent.monitoring.wish import pipeline_key
from modelyard.workloads.agent.watch import Assigned, Wanted

DIGEST = f"sha256:{'a' * 64}"
RELEASE = Release(DIGEST, pipeline_key(Pipeline()), 2, embeds=True)


class Yard:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(profiles, "profile_of", lambda summary, _: summary)
        self.now, self.asked, self.there = 0.0, 0, True
        self.assigned = Assigned()
        self.profiles = Profiles(self.fetch, self.assigned, clock=lambda: self.now)

    def fetch(self, _: Assignment) -> Any:
        self.asked += 1
        return SimpleNamespace() if self.there else None

    def assign(self, **fields: Any) -> None:
        one = {
            "modelVersion": "m-1", "version": 1, "artifact": "onnx", "format": "onnx",
            "digest": DIGEST, "manifestDigest": DIGEST, "profileDigest": DIGEST, **fields,
        }  # fmt: skip
        self.assigned.want(Wanted(Assignment.model_validate(one), "ModelServer"))


@pytest.fixture
def yard(monkeypatch) -> Yard:
    return Yard(monkeypatch)


def test_it_is_fetched_once(yard):
    yard.assign()
    assert yard.profiles.of(RELEASE) is yard.profiles.of(RELEASE) is not None
    assert yard.asked == 1


@pytest.mark.parametrize(
    "fields", [{"profileDigest": None}, {"digest": f"sha256:{'b' * 64}"},
               {"pipeline": {"confidence": 0.5}}]
)  # fmt: skip
def test_another_releases_profile_is_not_taken(yard, fields):
    yard.assign(**fields)
    assert yard.profiles.of(RELEASE) is None
    assert yard.asked == 0


def test_before_anything_is_assigned_there_is_none(yard):
    assert yard.profiles.of(RELEASE) is None


def test_a_store_that_is_away_is_asked_again_later(yard):
    yard.assign()
    yard.there = False
    assert yard.profiles.of(RELEASE) is None
    assert yard.profiles.of(RELEASE) is None
    assert yard.asked == 1

    yard.there, yard.now = True, AGAIN_SECONDS + 1
    assert yard.profiles.of(RELEASE) is not None
