"""Captured images leave the store after their retention, and not before."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modelyard.contract.capture import CaptureFile, CaptureReason, server_prefix
from modelyard.contract.run import StoreLocation
from modelyard.store import Store
from modelyard.store.collector import Policy, collect, evidence_of

NOW = datetime(2026, 11, 28, tzinfo=UTC)
NAMESPACE = {"metadata": {"name": "shop", "uid": "u-1"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Store:
    return Store.open(StoreLocation(url=folder.as_uri()))


def captured(store: Store, folder: Path, days: float, deployment: str = "shelf") -> str:
    """Stores a file of three captures so many days ago."""
    number = sum(1 for _ in store.keys.entries())
    file = CaptureFile("20261101", "0123456789ab", number, {CaptureReason.RANDOM: 3})
    key = server_prefix(deployment, "shelf-a") + file.name
    store.keys.put(key, b"tar")
    then = (NOW - timedelta(days=days)).timestamp()
    os.utime(folder / key, (then, then))
    return key


def deployment(retention: str | None, name: str = "shelf") -> dict[str, Any]:
    capture = {"retention": retention} if retention else {}
    return {
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"monitoring": {"capture": capture}},
    }


def run(store: Store, *objects: dict[str, Any], expire: bool = True) -> Any:
    evidence = evidence_of(NAMESPACE, objects, [], [])
    return collect(store, lambda: evidence, Policy(expire=expire), now=lambda: NOW)


def left(store: Store) -> set[str]:
    return {one.key for one in store.keys.entries("captures/")}


def test_captures_go_after_their_deployments_retention(store: Store, folder: Path) -> None:
    old, young = captured(store, folder, 8), captured(store, folder, 6)
    report = run(store, deployment("7d"))
    assert left(store) == {young}
    assert (report.captures, report.captures_expired, report.capture_bytes) == (6, 1, 6)
    assert old not in left(store)


def test_the_default_holds_where_nothing_else_is_said(store: Store, folder: Path) -> None:
    captured(store, folder, 31)
    captured(store, folder, 31, deployment="gone")
    young = captured(store, folder, 29, deployment="gone")
    run(store, deployment(None))
    assert left(store) == {young}


def test_what_a_dataset_was_made_of_stays(store: Store, folder: Path) -> None:
    named, indexed = captured(store, folder, 90), captured(store, folder, 90)
    captured(store, folder, 90)
    index = store.put_bytes(json.dumps({"origins": [indexed]}).encode())
    dataset = {
        "kind": "Dataset",
        "metadata": {"name": "d"},
        "spec": {"origin": named},
        "status": {"digest": index},
    }
    run(store, dataset)
    assert left(store) == {named, indexed}


def test_a_dry_run_only_counts(store: Store, folder: Path) -> None:
    captured(store, folder, 90)
    assert run(store, expire=False).captures_expired == 1
    assert len(left(store)) == 1


def test_files_that_are_no_captures_are_left_alone(store: Store, folder: Path) -> None:
    for key in ("captures/readme.txt", "captures/shelf/shelf-a/notes.tar", "captures/x"):
        store.keys.put(key, b"by somebody")
        os.utime(folder / key, (0, 0))
    run(store, deployment("1d"))
    assert len(left(store)) == 3


def test_another_namespaces_part_loses_nothing(store: Store, folder: Path) -> None:
    captured(store, folder, 90)
    store.put_pointer("_collector/state.json", {"owner": "somebody else", "unneeded": {}})
    assert run(store).problem
    assert len(left(store)) == 1
