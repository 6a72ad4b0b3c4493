"""What people ask of a rollout by annotations: each value acts once.

Annotations are left alone by GitOps tools that do not declare them, so the same works under Argo
CD's self-heal. The values that were acted on last are in status.actions. Who asked is stamped
beside them by the API server, where it can: see contract/attribution.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from modelyard.api.rolloutstatus import ActionName
from modelyard.contract import attribution
from modelyard.core import meta
from modelyard.core.plan import KubeObject

PREFIX = "modelyard.dev/"


@dataclass(frozen=True)
class Actions:
    """What is new."""

    asked: Mapping[ActionName, str]
    """Values by action that have not been acted on yet."""
    acted_on: Mapping[str, str]
    """What status.actions is to say once they are."""
    users: Mapping[ActionName, str] = field(default_factory=dict)
    """Who asked, by action, where that is known."""

    def __contains__(self, name: str) -> bool:
        return name in self.asked

    @property
    def for_new_rollout(self) -> Actions:
        """Without what can only have been meant for a rollout before: somebody who promotes or
        aborts one has not seen the next, which may have begun in the same moment."""
        before = (ActionName.PROMOTE, ActionName.ABORT)
        return replace(self, asked={n: v for n, v in self.asked.items() if n not in before})

    @property
    def full(self) -> bool:
        """Whether promote skips everything that is left."""
        return self.asked.get(ActionName.PROMOTE, "").startswith("full")

    @property
    def rollback(self) -> int | None:
        """Number of the version to go back to; None if it is not asked for, or is no number."""
        number = self.asked.get(ActionName.ROLLBACK, "").partition("@")[0]
        return int(number) if number.isdecimal() and len(number) < 10 else None


def read(obj: KubeObject, before: Mapping[str, str]) -> Actions:
    """The actions that an object's annotations ask for; `before` was acted on already."""
    present = {
        name: value
        for name in ActionName
        if (value := meta.annotation(obj, PREFIX + name)) is not None
    }
    asked = {name: value for name, value in present.items() if before.get(name) != value[:128]}
    users = {name: user for name in asked if (user := user_of(obj, attribution.asked_by(name)))}
    acted_on = {str(name): value[:128] for name, value in present.items()}
    return Actions(asked, acted_on, users)


def changed_by(obj: KubeObject) -> str | None:
    """Who changed an object's spec last; None if that is not known."""
    return user_of(obj, attribution.CHANGED_BY)


def user_of(obj: KubeObject, key: str) -> str | None:
    """The user that an annotation of contract/attribution.py names; None without one."""
    return (meta.annotation(obj, key) or "")[: attribution.MAX_NAME] or None
