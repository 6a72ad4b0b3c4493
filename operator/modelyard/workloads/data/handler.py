"""The Job of a Dataset: fetch, check, publish."""

from __future__ import annotations

import logging
from pathlib import Path

from modelyard.api.dataset import ClassStatus, SplitStatus
from modelyard.contract.datasetindex import SPLITS, SplitName
from modelyard.contract.result import DataResult, Outcome
from modelyard.contract.run import DataRun
from modelyard.store import Store, sha256_bytes
from modelyard.workloads.addresses import AddressRules
from modelyard.workloads.data.check import Checked, check_all
from modelyard.workloads.data.datafile import DataFile, find_root, read_data_file
from modelyard.workloads.data.errors import DatasetError
from modelyard.workloads.data.fetch import fetch
from modelyard.workloads.data.layout import is_absent, relative, samples
from modelyard.workloads.data.limits import Limits
from modelyard.workloads.data.problems import Problems
from modelyard.workloads.data.publish import class_boxes, publish
from modelyard.workloads.runner import Context

log = logging.getLogger("modelyard.data")

LISTED_CLASSES = 100
"""As many as a Dataset's status lists."""


def handle(run: DataRun, context: Context, limits: Limits | None = None) -> Outcome:
    """Fetch, check and, if nothing is wrong, publish. An invalid dataset is a result too.

    Raises UserError if the source cannot be used, RetryableError, StoreError.
    """
    store = Store.open(run.store)
    # Report an unusable store before a long fetch, not after it.
    store.exists(sha256_bytes(b""))
    try:
        folder = fetch(
            run.source,
            store=run.store,
            rules=AddressRules.parse(run.allowed_private_networks),
            mount=context.source,
            scratch=context.scratch,
            workers=context.workers,
            limits=limits or Limits(),
        )
        root = find_root(folder, run.data_file)
        data = read_data_file(root, run.data_file)
        problems = Problems()
        checked = _check(run, data, problems, context.workers)
    except DatasetError as error:
        log.warning("%s", error.message)
        return _invalid(DataResult(valid=False, problems=[error.message], problem_count=1))
    if problems:
        for problem in problems.first:
            log.warning("%s", problem)
        result = _summary(checked, data.classes)
        result.problems, result.problem_count = problems.first, problems.count
        return _invalid(result)
    return Outcome(result=_publish(store, checked, data, context.scratch))


def _publish(
    store: Store, checked: dict[SplitName, list[Checked]], data: DataFile, scratch: Path
) -> DataResult:
    digest, index = publish(store, checked, data.classes, scratch)
    result = _summary(checked, data.classes)
    result.valid, result.digest, result.size_bytes = True, digest, index.size_bytes
    return result


def _check(
    run: DataRun, data: DataFile, problems: Problems, workers: int
) -> dict[SplitName, list[Checked]]:
    checked: dict[SplitName, list[Checked]] = {}
    duplicates = 0
    for split in SPLITS:
        if split not in data.splits:
            continue
        if split == "test" and is_absent(data, split):
            # Only an evaluation on it needs it, and is refused then.
            log.warning("%s names a test split that is not there: left out", run.data_file)
            continue
        found = samples(data, split, problems)
        log.info("split %s: %d images", split, len(found))
        minimum = run.quality.min_images_per_split
        if len(found) < minimum:
            problems.add(
                run.data_file,
                f"the {split} split has {len(found)} images; "
                f"spec.quality.minImagesPerSplit is {minimum}",
            )
        checked[split] = []
        for one in check_all(
            found,
            root=data.root,
            classes=len(data.classes),
            missing_is_background=run.quality.missing_labels == "Background",
            workers=workers,
        ):
            checked[split].append(one)
            duplicates += one.duplicates
            for where, what in one.problems:
                problems.add(where, what)
    if duplicates:
        log.warning("%d duplicate label lines are left out", duplicates)
    _check_leakage(checked, data.root, problems)
    return checked


def _check_leakage(checked: dict[SplitName, list[Checked]], root: Path, problems: Problems) -> None:
    """The same image bytes in two splits: figures on the holdout would be too good."""
    first: dict[bytes, Checked] = {}
    for images in checked.values():
        for one in images:
            if not one.digest:
                continue
            other = first.setdefault(one.digest, one)
            if other.sample.split != one.sample.split:
                problems.add(
                    relative(root, one.sample.image),
                    f"in split {one.sample.split} is the same image as "
                    f"{relative(root, other.sample.image)} in split {other.sample.split}; an "
                    "image may be in one split only",
                )


def _summary(checked: dict[SplitName, list[Checked]], classes: tuple[str, ...]) -> DataResult:
    totals = [0] * len(classes)
    for images in checked.values():
        totals = [a + b for a, b in zip(totals, class_boxes(images, len(classes)), strict=True)]
    return DataResult(
        valid=False,
        images=sum(map(len, checked.values())),
        splits=[
            SplitStatus(
                name=name,
                images=len(images),
                boxes=sum(len(one.boxes) for one in images),
                backgrounds=sum(not one.boxes for one in images),
            )
            for name, images in checked.items()
        ],
        classes=[
            ClassStatus(id=i, name=name, boxes=totals[i])
            for i, name in enumerate(classes[:LISTED_CLASSES])
        ],
        class_count=len(classes),
    )


def _invalid(result: DataResult) -> Outcome:
    return Outcome(
        reason="ProblemsFound",
        message=f"{result.problem_count} problems; the first: {result.problems[0]}",
        result=result,
    )
