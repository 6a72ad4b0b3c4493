"""What a workload is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...fake_status import Served
from ..actor import Script
from ..scene import Scene


@dataclass(frozen=True)
class Step:
    """Something that a user does, and the state that it leads to."""

    name: str
    act: Callable[[Scene], object]
    done: Callable[[Scene], Any]
    """Whether that state is reached, as far as a user can tell."""
    last_of_life: bool = False
    """What comes after is the end of everything: this state is examined at leisure."""


@dataclass(frozen=True)
class Workload:
    """A life of one or more objects."""

    name: str
    steps: tuple[Step, ...]
    script: Script = field(default_factory=dict)
    """How the pods' work ends."""
    served: Mapping[int, Served] = field(default_factory=dict)
    """How the versions with these numbers do in servers, if not well."""
    prepare: Callable[[Scene], object] = lambda scene: None
    """What is there before the operator starts."""
