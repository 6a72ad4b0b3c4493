"""Why a TrainingJob cannot start yet, in the order in which a user can act on it.

Each policy is a question with one answer, a Verdict, and decide.py asks them in the order of
`START`: a user reads the first thing to mend, not all. They are asked until the Job exists;
from then on nothing in the spec that they look at can change the run.
"""

from __future__ import annotations

from modelyard.api.dataset import DatasetPhase
from modelyard.api.hyperparameters import check
from modelyard.api.modelversion import ModelVersionPhase
from modelyard.api.trainingjob import TrainingJobPhase
from modelyard.core import images, meta
from modelyard.core.namespace_policy import namespace_verdict
from modelyard.core.policy import Policy, Verdict
from modelyard.core.trainingjob import reasons
from modelyard.core.trainingjob.observed import Observed


def namespace_prepared(observed: Observed) -> Verdict | None:
    """The namespace has what workload pods need."""
    return namespace_verdict(observed.obj, observed.settings)


def hyperparameters_valid(observed: Observed) -> Verdict | None:
    """Every hyperparameter is known and has a valid value."""
    problems = check(observed.spec.hyperparameters or {})
    if not problems:
        return None
    return Verdict(reasons.INVALID_HYPERPARAMETERS, "; ".join(problems), stalled=True)


def image_allowed(observed: Observed) -> Verdict | None:
    """The administrator's list has the user's image. Admission refuses the rest already, but may
    be switched off, or the list may have become shorter since."""
    image, patterns = observed.spec.image, observed.settings.trainer_images
    if image is None or images.allowed(image, patterns):
        return None
    refusal = images.refusal("spec.image", image, patterns)
    return Verdict(reasons.IMAGE_NOT_ALLOWED, refusal, stalled=True)


def not_suspended(observed: Observed) -> Verdict | None:
    """The user has not suspended the job."""
    if not observed.spec.suspend:
        return None
    return Verdict(
        reasons.SUSPENDED,
        "suspended before it started: set spec.suspend to false to start",
        phase=TrainingJobPhase.SUSPENDED,
    )


def dataset_ready(observed: Observed) -> Verdict | None:
    """The Dataset exists and is Ready."""
    name = observed.spec.dataset.name
    if observed.dataset is None:
        return Verdict(
            reasons.DATASET_NOT_FOUND,
            f"waiting for Dataset {name}: it does not exist in namespace "
            f"{meta.namespace(observed.obj)}",
        )
    status = meta.status(observed.dataset)
    if status.get("phase") in (DatasetPhase.INVALID, DatasetPhase.FAILED):
        return Verdict(
            reasons.DATASET_INVALID,
            f"Dataset {name} cannot be used: {status.get('message', '')}",
            stalled=True,
        )
    stale = status.get("observedGeneration") != meta.generation(observed.dataset)
    if stale or status.get("phase") != DatasetPhase.READY or not status.get("digest"):
        return Verdict(
            reasons.DATASET_NOT_READY, f"waiting for Dataset {name} to be fetched and checked"
        )
    return None


def splits_exist(observed: Observed) -> Verdict | None:
    """The Dataset has the splits that training and evaluation will read: found out before a GPU
    has trained for hours."""
    assert observed.dataset is not None  # dataset_ready
    splits = meta.status(observed.dataset).get("splits")
    if not splits:  # resolved by an older operator
        return None
    have = [str(one["name"]) for one in splits if one.get("images")]
    evaluation = observed.spec.output.evaluation
    wanted = {"spec.hyperparameters.split": (observed.spec.hyperparameters or {}).get("split")}
    if not evaluation.skip:
        wanted["spec.output.evaluation.split"] = evaluation.split
    for field, split in wanted.items():
        if split is not None and split not in have:
            return Verdict(
                reasons.SPLIT_MISSING,
                f"{field} is {split}, but Dataset {observed.spec.dataset.name} has "
                f"{', '.join(have)} only: add images of this split to the dataset, or choose "
                "another one",
                stalled=True,
            )
    return None


def base_version_ready(observed: Observed) -> Verdict | None:
    """The ModelVersion to train on from exists, is Ready, and has weights."""
    reference = observed.spec.base_version
    if reference is None:
        return None
    if observed.base_version is None:
        return Verdict(
            reasons.BASE_VERSION_NOT_FOUND,
            f"waiting for ModelVersion {reference.name}: it does not exist in namespace "
            f"{meta.namespace(observed.obj)}",
        )
    status = meta.status(observed.base_version)
    phase = status.get("phase")
    if phase in (ModelVersionPhase.REJECTED, ModelVersionPhase.FAILED):
        return Verdict(
            reasons.BASE_VERSION_REJECTED,
            f"ModelVersion {reference.name} cannot be fine-tuned, it is {phase}: "
            f"{status.get('message', '')}",
            stalled=True,
        )
    if phase != ModelVersionPhase.READY:
        return Verdict(
            reasons.BASE_VERSION_NOT_READY, f"waiting for ModelVersion {reference.name} to be Ready"
        )
    if (observed.base_version["spec"]["weights"].get("format") or "pt") != "pt":
        return Verdict(
            reasons.BASE_VERSION_REJECTED,
            f"ModelVersion {reference.name} cannot be fine-tuned: its weights are ONNX, not a "
            "PyTorch checkpoint",
            stalled=True,
        )
    return None


START: tuple[Policy[Observed], ...] = (
    namespace_prepared,  # nothing can run elsewhere
    hyperparameters_valid,  # the user's own mistake is told first, whatever else is missing
    image_allowed,  # likewise
    not_suspended,  # asked for: no need to complain about missing inputs
    dataset_ready,  # pinned at the start
    splits_exist,  # of the dataset that is there now
    base_version_ready,  # likewise
)
