"""The training Job, and the ModelVersion that comes out.

Everything that the run depends on is pinned here, by digest, when the Job is made: a Dataset or a
base version that changes later must not change a training that resumes. What the pod does with it:
workloads/train/job.py; what the Job's state means: core/jobstate.py.
"""

from __future__ import annotations

from typing import Any

from modelyard.api.base import API_VERSION
from modelyard.api.modelversion import WeightsSource
from modelyard.api.trainingjob import REPORTER
from modelyard.contract import labels
from modelyard.contract.naming import version_name
from modelyard.contract.result import TrainResult
from modelyard.contract.run import ObjectId, TrainRun
from modelyard.core import meta
from modelyard.core.jobs import JobSpec, make_job
from modelyard.core.trainingjob import names
from modelyard.core.trainingjob.observed import Observed


def trainer_image(observed: Observed) -> str:
    """The user's image, else the default for the hardware."""
    images = observed.settings.images
    default = images.tensorrt if observed.spec.resources.gpus else images.trainer
    return observed.spec.image or default


def training_job(observed: Observed) -> dict[str, Any]:
    """The batch/v1 Job; pins the dataset's digest and the base version's weights."""
    obj, spec, settings = observed.obj, observed.spec, observed.settings
    assert observed.dataset is not None  # policies.dataset_ready
    base = observed.base_version
    run = TrainRun(
        object=ObjectId(namespace=meta.namespace(obj), name=meta.name(obj), uid=meta.uid(obj)),
        store=settings.store_of(meta.namespace(obj)),
        run_key=names.run_key(obj),
        model=spec.model,
        model_digest=spec.model_digest,
        base_weights=(
            WeightsSource.model_validate(base["spec"]["weights"], extra="ignore") if base else None
        ),
        dataset_digest=meta.status(observed.dataset)["digest"],
        hyperparameters=spec.hyperparameters or {},
        gpus=spec.resources.gpus or 0,
    )
    return make_job(
        obj,
        JobSpec(
            kind="TrainingJob",
            name=observed.job_name,
            component="training",
            module="modelyard.workloads.train",
            image=trainer_image(observed),
            run=run,
            defaults=settings.resources["training"],
            resources=spec.resources,
            scheduling=spec.scheduling,
            backoff_limit=spec.backoff_limit,
            active_deadline_seconds=spec.active_deadline_seconds,
            service_account=settings.service_account(REPORTER),
            spec_hash=observed.spec_hash,
        ),
        settings,
    )


def model_version(observed: Observed, result: TrainResult) -> dict[str, Any]:
    """The ModelVersion. It outlives the TrainingJob: no owner reference, lineage by UID."""
    obj, spec = observed.obj, observed.spec
    started = observed.started_run or {}
    lineage: dict[str, Any] = {
        "trainingJob": {"name": meta.name(obj), "uid": meta.uid(obj)},
        "trainerImage": trainer_image(observed),
    }
    if spec.base_version:
        lineage["baseVersion"] = spec.base_version.name
    if result.initial_weights_digest:
        lineage["initialWeightsDigest"] = result.initial_weights_digest
    output = spec.output.model_dump(mode="json", by_alias=True, exclude_none=True)
    for export in output["exports"]:
        export.setdefault("imgsz", result.imgsz)
    line = output.pop("modelLine")
    body: dict[str, Any] = {
        "modelLine": line,
        "version": observed.next_number,
        "weights": {"digest": result.weights_digest, "format": "pt"},
        "dataset": {"name": spec.dataset.name, "digest": started["datasetDigest"]},
        "lineage": lineage,
        **output,
    }
    if spec.scheduling and not (spec.resources.gpus or 0):
        body["scheduling"] = spec.scheduling.model_dump(by_alias=True, exclude_none=True)
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelVersion",
        "metadata": {
            "name": version_name(line, observed.next_number),
            "namespace": meta.namespace(obj),
            "labels": {
                labels.NAME: "modelyard",
                labels.MANAGED_BY: labels.MANAGER,
                labels.COMPONENT: "model-version",
                labels.MODEL_LINE: line,
            },
        },
        "spec": body,
    }
