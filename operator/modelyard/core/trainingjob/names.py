"""Names of a TrainingJob's children."""

from __future__ import annotations

from modelyard.core import meta
from modelyard.core.naming import child_name, short_hash
from modelyard.core.plan import KubeObject


def job_name(obj: KubeObject, attempt: int) -> str:
    """The Job of one attempt; a new value of the retry annotation is a new attempt too."""
    mark = short_hash(meta.uid(obj), attempt, meta.annotation(obj, meta.RETRY))
    return child_name(meta.name(obj), "train", mark)


def run_key(obj: KubeObject) -> str:
    """Where checkpoints lie in the store: the same for all attempts, so that they resume."""
    return meta.uid(obj)
