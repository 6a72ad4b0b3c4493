"""`modelyard captures` on a store in a directory."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from modelyard.cli.main import app
from modelyard.contract.capture import (
    Captured,
    CapturedAnswer,
    CapturedImage,
    CaptureFile,
    CaptureReason,
    CaptureRecord,
    pack,
    server_prefix,
)
from modelyard.contract.run import StoreLocation
from modelyard.store import Store

from ..agent.capture.played import jpeg

BOOT = "0123456789ab"


def record(number: int, reason: CaptureReason = CaptureReason.RANDOM) -> CaptureRecord:
    return CaptureRecord(
        id=f"{BOOT}-{number:06d}",
        namespace="shop",
        deployment="shelf",
        server="shelf-a",
        reason=reason,
        time="2026-11-28T10:00:00.000Z",
        image=CapturedImage(file=f"{BOOT}-{number:06d}.jpg", sha256="0" * 64, width=64, height=48),
        answer=CapturedAnswer(
            model_version="shelf-1",
            version=1,
            digest=f"sha256:{'a' * 64}",
            confidence=0.25,
            classes=["can", "box"],
            boxes=[(16, 12, 48, 36)],
            scores=[0.9],
            class_ids=[1],
        ),
        for_training=number != 2,
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with three captures in two files."""
    location = StoreLocation(url=(tmp_path / "store").as_uri())
    store = Store.open(location)
    day = [Captured(record(number), jpeg(number)) for number in (1, 2)]
    urgent = [Captured(record(3, CaptureReason.ON_DEMAND), jpeg(3))]
    for number, (captures, counts) in enumerate(
        ((day, {CaptureReason.RANDOM: 2}), (urgent, {CaptureReason.ON_DEMAND: 1})), 10
    ):
        name = CaptureFile("20261128", BOOT, number, counts).name
        store.keys.put(server_prefix("shelf", "shelf-a") + name, pack(captures))
    store.keys.put("captures/other/other-a/notes.txt", b"x")
    return location.url


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["captures", *arguments])


def test_the_list_counts_by_reason(url: str) -> None:
    done = run("list", "shelf", "--store", url)
    assert done.exit_code == 0, done.output
    assert "RANDOM" in done.output
    assert done.output.count("shelf-a") == 2
    assert "3 images" in done.output
    assert "no captures" in run("list", "other", "--store", url).output


def test_an_export_has_images_labels_and_records(url: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("export", "shelf", "--store", url, "--out", str(out))
    assert done.exit_code == 0, done.output
    assert "3 images, of which 2 are fit for training" in done.output
    stems = {path.stem for path in (out / "images").iterdir()}
    assert stems == {path.stem for path in (out / "labels").iterdir()}
    assert stems == {path.stem for path in (out / "records").iterdir()}
    label = (out / "labels" / f"shelf-a-{BOOT}-000001.txt").read_text().split()
    assert label[0] == "1"
    assert [float(one) for one in label[1:]] == pytest.approx([0.5, 0.5, 0.5, 0.5])
    assert '1: "box"' in (out / "data.yaml").read_text()
    assert run("export", "shelf", "--store", url, "--out", str(out)).exit_code != 0


def test_an_export_takes_only_what_is_asked_for(url: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("export", "shelf", "--store", url, "--out", str(out), "--reason", "OnDemand")
    assert len(list((out / "images").iterdir())) == 1


def test_the_contact_sheet_shows_all(url: str, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    done = run("show", "shelf", "--store", url, "--out", str(out))
    assert done.exit_code == 0, done.output
    with Image.open(out) as picture:
        assert picture.size == (960, 274)


def test_a_damaged_file_is_left_out_and_named(url: str, tmp_path: Path) -> None:
    store = Store.open(StoreLocation(url=url))
    name = CaptureFile("20261129", BOOT, 99, {CaptureReason.RANDOM: 1}).name
    store.keys.put(server_prefix("shelf", "shelf-a") + name, b"not a tar")
    out = tmp_path / "out"
    done = run("export", "shelf", "--store", url, "--out", str(out))
    assert done.exit_code == 0, done.output
    assert "is left out" in done.output
    assert len(list((out / "images").iterdir())) == 3
