"""The Job that fetches, checks and publishes a dataset."""

from __future__ import annotations

from typing import Any

from modelyard.contract import paths
from modelyard.contract.run import DataRun, ObjectId
from modelyard.core import meta
from modelyard.core.dataset.observed import Observed
from modelyard.core.jobs import JobSpec, make_job

CREDENTIAL_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def data_job(observed: Observed) -> dict[str, Any]:
    """The batch/v1 Job. Credentials of the user's source come as SOURCE_AWS_… variables, beside
    those of the store."""
    obj, spec, settings = observed.obj, observed.spec, observed.settings
    run = DataRun(
        object=ObjectId(namespace=meta.namespace(obj), name=meta.name(obj), uid=meta.uid(obj)),
        store=settings.store_of(meta.namespace(obj)),
        source=spec.source,
        data_file=spec.data_file,
        quality=spec.quality,
    )
    env: list[dict[str, Any]] = []
    if spec.source.s3 and spec.source.s3.credentials:
        secret = spec.source.s3.credentials.name
        env = [
            {
                "name": f"SOURCE_{key}",
                "valueFrom": {"secretKeyRef": {"name": secret, "key": key}},
            }
            for key in CREDENTIAL_KEYS
        ]
    volumes = []
    if spec.source.pvc:
        claim = {"claimName": spec.source.pvc.claim_name, "readOnly": True}
        mount = {"name": "source", "mountPath": str(paths.SOURCE), "readOnly": True}
        volumes.append(({"name": "source", "persistentVolumeClaim": claim}, mount))
    return make_job(
        obj,
        JobSpec(
            kind="Dataset",
            name=observed.job_name,
            component="dataset",
            module="modelyard.workloads.data",
            image=settings.images.worker,
            run=run,
            defaults=settings.resources["data"],
            resources=spec.resources,
            scheduling=spec.scheduling,
            env=tuple(env),
            volumes=tuple(volumes),
        ),
        settings,
    )
