"""The Jobs that export and evaluate a version."""

from __future__ import annotations

from typing import Any

from modelyard.api.base import Resources, Scheduling, Toleration
from modelyard.api.export import Export
from modelyard.contract import paths
from modelyard.contract.run import EvaluateRun, ExportRun, ObjectId
from modelyard.core import meta
from modelyard.core.jobs import CONTAINER, JobSpec, make_job
from modelyard.core.modelversion import names
from modelyard.core.modelversion.observed import Group, Observed
from modelyard.core.pods import GPU_RESOURCE
from modelyard.core.stages import Stage

GPU_PRODUCT_LABEL = "nvidia.com/gpu.product"
"""Node label of NVIDIA's GPU feature discovery."""

DEADLINE_SECONDS = 24 * 3600
"""Maximum duration of one pod that exports or evaluates: code in a `.pt` file could wait for ever.
The Job has no limit, for a node with the right GPU may be free only after days."""
_ISOLATED = Stage(paths.ISOLATED, reads=(paths.INPUTS,), writes=(paths.OUTPUTS,))


def _object(observed: Observed) -> ObjectId:
    obj = observed.obj
    return ObjectId(namespace=meta.namespace(obj), name=meta.name(obj), uid=meta.uid(obj))


def _hardware(
    observed: Observed, export: Export | None
) -> tuple[str, Resources | None, Scheduling]:
    """Image, resources and placement: an engine needs a node with its GPU type."""
    spec, images = observed.spec, observed.settings.images
    scheduling = spec.scheduling or Scheduling()
    if export is None or export.format != "tensorrt":
        return images.trainer, spec.resources, scheduling
    selector = {**(scheduling.node_selector or {}), GPU_PRODUCT_LABEL: export.gpu_product or ""}
    accepted = [
        *(scheduling.tolerations or ()),
        Toleration(key=GPU_RESOURCE, operator="Exists", effect="NoSchedule"),
    ]
    resources = (spec.resources or Resources()).model_copy(update={"gpus": 1})
    placed = scheduling.model_copy(update={"node_selector": selector, "tolerations": accepted})
    return images.tensorrt, resources, placed


def _job(
    observed: Observed,
    role: str,
    export: Export | None,
    module: str,
    run: Any,
    *,
    stages: tuple[Stage, ...],
    main: Stage,
) -> dict[str, Any]:
    image, resources, scheduling = _hardware(observed, export)
    return make_job(
        observed.obj,
        JobSpec(
            kind="ModelVersion",
            name=names.job_name(observed.obj, role, observed.attempt),
            component=role.partition("-")[0],
            module=module,
            image=image,
            run=run,
            defaults=observed.settings.resources["export"],
            resources=resources,
            scheduling=scheduling,
            role=role,
            pod_deadline_seconds=DEADLINE_SECONDS,
            stages=stages,
            main=main,
        ),
        observed.settings,
    )


def export_job(observed: Observed, export: Export) -> dict[str, Any]:
    """The batch/v1 Job of one export."""
    dataset = observed.spec.dataset
    run = ExportRun(
        object=_object(observed),
        store=observed.settings.store_of(meta.namespace(observed.obj)),
        weights=observed.spec.weights,
        export=export,
        dataset_digest=dataset.digest if dataset and export.precision == "int8" else None,
    )
    role = names.export_role(export.name)
    fetch = Stage(paths.FETCH, store=True, writes=(paths.INPUTS,))
    # ONNX weights are data: nothing has to be loaded to adopt them.
    isolated = (_ISOLATED,) if run.weights.format == "pt" else ()
    main = Stage(CONTAINER, store=True, reads=(paths.INPUTS, *(s.writes[0] for s in isolated)))
    module = "modelyard.workloads.export"
    return _job(observed, role, export, module, run, stages=(fetch, *isolated), main=main)


def evaluation_job(observed: Observed, group: Group) -> dict[str, Any]:
    """The batch/v1 Job that evaluates a group's artifacts on the pinned split."""
    assert observed.spec.dataset is not None  # the schema: nothing is evaluated without one
    run = EvaluateRun(
        object=_object(observed),
        store=observed.settings.store_of(meta.namespace(observed.obj)),
        weights=observed.spec.weights,
        include_source=group.include_source,
        artifacts=[observed.artifacts[e.name] for e in group.exports],
        dataset_digest=observed.spec.dataset.digest,
        evaluation=observed.spec.evaluation,
    )
    hardware = next((e for e in group.exports if e.format == "tensorrt"), None)
    fetch = Stage(paths.FETCH, store=True, writes=(paths.INPUTS, paths.LABELS))
    # Neither are engines data: they are programs for a GPU.
    source = group.include_source and run.weights.format == "pt"
    isolated = (_ISOLATED,) if source or hardware else ()
    reads = (paths.INPUTS, paths.LABELS, *(s.writes[0] for s in isolated))
    judge = Stage(paths.JUDGE, reads=reads, writes=(paths.JUDGED,))
    # It publishes the profile, so it has credentials, and sees nothing that a stranger has written.
    main = Stage(CONTAINER, store=True, reads=(paths.INPUTS, paths.JUDGED))
    module = "modelyard.workloads.evaluate"
    stages = (fetch, *isolated, judge)
    return _job(observed, group.role, hardware, module, run, stages=stages, main=main)
