"""Counts the pods of a Job that Kubernetes ended before they were done, across their vanishing.

A preempted, drained or tainted pod is deleted, the podFailurePolicy ignores it (core/jobs.py), and
the Job's controller makes another one, for ever. So the status remembers how many there were in a
row (api/disruption.py), and jobstate.py gives the Job up after MAX_DISRUPTIONS. A training that has
finished an epoch more than at the time before starts the count anew: that loop has an end.

    pod  made 10:00, DisruptionTarget    status: count 1, pod a, made 10:00
    (the pod is gone)                    status: carried
    pod  made 10:05, DisruptionTarget    status: count 2, pod b, made 10:05

Counting is level-triggered: a pod counts once, since it is younger than the last one counted. One
that came and went unseen is not counted, which only makes the end come later.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from modelyard.api.disruption import Disruption
from modelyard.contract.statustext import truncate
from modelyard.core import meta, podstate
from modelyard.core.plan import KubeObject

MAX_DISRUPTIONS = 10
"""Pods in a row. More than the evictions of a node's disk (jobstate.py), which come for what the
Job itself does; a preemption comes for what others need, and may be over the next time."""
_WORDS = 240
"""Characters of a message that are remembered: a ModelVersion has up to 18 Jobs."""


def count(owner: KubeObject, job: str, pods: Iterable[KubeObject]) -> Disruption | None:
    """What the status of a Job's owner remembers, with its pods that came since; None if no
    pod was disrupted."""
    status = meta.status(owner)
    records = (Disruption.model_validate(one) for one in status.get("disruptions") or ())
    record = next((one for one in records if one.job_name == job), None)
    epoch = int((status.get("progress") or {}).get("epoch") or 0)
    for pod in sorted(pods, key=podstate.age):
        found = podstate.disruption(pod)
        last = (record.pod_creation_time or "", record.pod_name) if record else ("", "")
        if found is None or podstate.age(pod) <= last:
            continue
        further = record is None or epoch > (record.epoch or 0)
        record = Disruption(
            job_name=job,
            count=1 if record is None or further else record.count + 1,
            pod_name=meta.name(pod),
            pod_creation_time=podstate.age(pod)[0] or None,
            reason=found.reason,
            message=truncate(found.message, _WORDS),
            epoch=epoch or None,
        )
    return record


def remembered(found: Iterable[Disruption | None]) -> dict[str, Any]:
    """The status field for some Jobs; absent if no pod of them was disrupted."""
    records = [one.model_dump(by_alias=True, exclude_none=True) for one in found if one]
    return {"disruptions": records} if records else {}
