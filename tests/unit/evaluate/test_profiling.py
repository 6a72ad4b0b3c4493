"""The profile of a holdout: measured as a server measures, summarised, packed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from modelyard.api.evaluation import Evaluation
from modelyard.contract.profile import LEVELS, MAX_BYTES, MAX_IMAGES, Figure, parse_summary
from modelyard.signals.embeddings import fourier, project
from modelyard.signals.images import image_figures
from modelyard.store import sha256_bytes
from modelyard.workloads.evaluate import profiling
from modelyard.workloads.evaluate.boxes import DETECTION
from modelyard.workloads.evaluate.profiling import Answers

IMAGES = 12
DIGEST = "sha256:" + "0" * 64


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    made = []
    for number in range(IMAGES):
        image = rng.integers(0, 256, (40 + number, 60, 3), np.uint8)
        if number == 3:
            image[:] = 20
        made.append(tmp_path / f"{number:02}.png")
        cv2.imwrite(str(made[-1]), image)
    return made


def detections(*rows: tuple[int, int, float, tuple[float, ...]]) -> np.ndarray:
    found = np.zeros(len(rows), DETECTION)
    for at, (image, kind, confidence, box) in enumerate(rows):
        found[at] = (image, kind, confidence, box)
    return found


FOUND = detections(
    (5, 1, 0.9, (0, 0, 0.5, 0.5)),
    (0, 0, 0.6, (0, 0, 1, 1)),
    (5, 2, 0.3, (0.5, 0.5, 1, 0.75)),
    (7, 1, 0.249, (0, 0, 1, 1)),
)


def answers(size: int = 16) -> Answers:
    rng = np.random.default_rng(2)
    return Answers(
        top_scores=np.linspace(-5, 3, IMAGES),
        embeddings=rng.normal(1, 2, (IMAGES, size)).astype(np.float32),
    )


def measured(files: list[Path], **changes: Any) -> profiling.Columns:
    given: dict[str, Any] = {"found": FOUND, "answers": answers()} | changes
    return profiling.measure(
        given["found"], given["answers"], files, classes=3, workers=2,
    )  # fmt: skip


def summary(columns: profiling.Columns, **settings: Any) -> Any:
    return profiling.summarise(
        columns,
        packed=columns.pack(),
        artifact=DIGEST,
        dataset=DIGEST,
        evaluation=Evaluation(**settings),
    )


def test_figures_are_those_that_a_server_measures(files: list[Path]) -> None:
    columns = measured(files)
    for number, file in enumerate(files):
        figures = image_figures(cv2.imread(str(file)))
        for name in ("brightness", "contrast", "sharpness", "colourfulness"):
            assert columns.pixels[name][number] == pytest.approx(getattr(figures, name), rel=1e-5)
    assert columns.pixels["blank"].tolist() == [number == 3 for number in range(IMAGES)]
    assert columns.detections.tolist() == [1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0]
    assert columns.box_area[[0, 5]].tolist() == [1, 0.1875]
    assert np.isnan(columns.box_area[7])
    assert columns.top_score == pytest.approx(np.linspace(-5, 3, IMAGES))


def test_the_archive_holds_all_of_it_without_pickles_and_is_the_same_again(
    files: list[Path],
) -> None:
    packed = measured(files).pack()
    assert packed == measured(files).pack()
    with np.load(io.BytesIO(packed), allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files}
    assert found["embedding"].dtype == np.float16
    assert found["embedding"].shape == (IMAGES, 16)
    assert found["boxRow"].tolist() == [0, 5, 5]
    assert found["boxClass"].tolist() == [0, 1, 2]
    assert {len(found[name]) for name in ("image", "brightness", "topScore")} == {IMAGES}


def test_the_summary_describes_the_distributions(files: list[Path]) -> None:
    columns = measured(files)
    made = summary(columns)
    assert len(made.dump()) < MAX_BYTES / 4
    assert parse_summary(made.dump()) == made
    assert made.profile == sha256_bytes(columns.pack())
    assert (made.images, made.confidence, made.iou) == (IMAGES, 0.25, 0.7)
    assert made.blank == pytest.approx(1 / IMAGES, rel=1e-5)
    top = made.figures[Figure.TOP_SCORE]
    assert (top.quantiles[0], top.quantiles[LEVELS.index(0.5)], top.quantiles[-1]) == (-5, -1, 3)
    assert (made.figures[Figure.BOX_AREA].count, made.figures[Figure.TOP_SCORE].count) == (2, 12)
    assert made.figures[Figure.DETECTIONS].mean == pytest.approx(0.25)
    assert (made.classes.ids, made.classes.other) == ((0, 1, 2), 0)
    assert made.classes.shares == pytest.approx((1 / 3, 1 / 3, 1 / 3), rel=1e-5)


def test_the_embeddings_are_summarised_under_the_fixed_projections(files: list[Path]) -> None:
    columns = measured(files)
    made = summary(columns).embedding
    projected = project(columns.embeddings)
    assert made.size == 16
    assert made.center == pytest.approx(projected.mean(axis=0), rel=1e-5)
    scaled = (projected - made.center) / made.scale
    assert scaled.std(axis=0) == pytest.approx(np.ones(32), rel=1e-4)
    features = fourier(scaled / made.bandwidth).mean(axis=0)
    assert made.features == pytest.approx(features, abs=1e-4)
    inside = ((scaled**2).sum(axis=1) <= made.radius).mean()
    assert 0.9 <= inside < 1


def test_many_classes_are_the_ten_most_frequent_and_others(files: list[Path]) -> None:
    kinds = [kind for kind in range(30) for _ in range(40 - kind)]
    rows = [(number % IMAGES, kind, 0.9, (0, 0, 1, 1)) for number, kind in enumerate(kinds)]
    columns = profiling.measure(detections(*rows), answers(), files, classes=30, workers=1)
    made = summary(columns).classes
    assert (made.boxes, made.ids) == (len(kinds), tuple(range(10)))
    assert sum(made.shares) + made.other == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_no_numbers_are_left_out(files: list[Path], value: float) -> None:
    broken = answers()
    broken.embeddings[4, 2] = value
    columns = measured(files, answers=broken)
    assert columns.embeddings is None
    assert summary(columns).embedding is None


def test_an_embedding_beyond_half_precision_is_kept_finite(files: list[Path]) -> None:
    huge = answers()
    huge.embeddings[4, 2] = 1e9
    columns = measured(files, answers=huge)
    assert np.isfinite(columns.embeddings).all()
    assert summary(columns).embedding.radius > 0


def test_a_network_without_an_embedding_and_a_holdout_without_boxes_have_a_profile(
    files: list[Path],
) -> None:
    plain = Answers(top_scores=np.zeros(IMAGES), embeddings=None)
    columns = measured(files, found=FOUND[:0], answers=plain)
    made = summary(columns)
    assert made.embedding is None
    assert Figure.BOX_AREA not in made.figures
    assert (made.classes.boxes, made.classes.other) == (0, 0)


def test_one_image_has_a_profile(files: list[Path]) -> None:
    one = Answers(answers().top_scores[:1], answers().embeddings[:1])
    columns = profiling.measure(FOUND[:0], one, files[:1], classes=3, workers=1)
    made = summary(columns)
    assert parse_summary(made.dump()).embedding.bandwidth == 1


def test_an_evaluation_with_a_higher_confidence_says_so(files: list[Path]) -> None:
    columns = profiling.measure(
        FOUND, answers(), files, confidence=0.5, classes=3, workers=1
    )  # fmt: skip
    assert columns.detections.sum() == 2
    assert summary(columns, confidence=0.5).confidence == 0.5


def test_of_a_large_holdout_the_same_images_are_drawn_each_time() -> None:
    drawn = profiling.chosen(20_000)
    assert len(drawn) == len(set(drawn.tolist())) == MAX_IMAGES
    assert drawn.tolist() == sorted(drawn.tolist()) == profiling.chosen(20_000).tolist()
    # From all of it: files are sorted by name, which is often by camera or time.
    assert np.histogram(drawn, 10, (0, 20_000))[0].min() > 0.8 * MAX_IMAGES / 10
    assert profiling.chosen(7).tolist() == list(range(7))


def test_an_image_that_cannot_be_read_is_named(files: list[Path]) -> None:
    files[6].write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"06\.png"):
        measured(files)
