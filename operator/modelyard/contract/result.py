"""What a pod answers: an Outcome of at most 4096 bytes, as its termination message.

On success it holds one Result, under the kind of the run that it is the result of:
`{"reason": "Succeeded", "train": {…}}`. Each Run names its Result (run.py: BaseRun.result); it is
known to `parse_outcome` as soon as its class exists, so there is no table of them.

The bound is Kubernetes' own for termination messages
(https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import (
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from modelyard.api.base import Metrics, StatusModel
from modelyard.api.dataset import ClassStatus, SplitStatus
from modelyard.api.modelversion import Artifact, ArtifactEvaluation
from modelyard.contract.statustext import truncate

MAX_BYTES = 4096


class Result(StatusModel):
    """What a successful run of one kind has found out or made."""

    run: ClassVar[str]
    """The run's kind, under which an Outcome holds it."""

    def cut(self) -> None:
        """Shorten texts of any length."""

    def shrink(self) -> bool:
        """Leave out what can be spared most; False if there is nothing."""
        return False

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        known = _RESULTS.setdefault(cls.run, cls)
        if known is not cls and known.__qualname__ != cls.__qualname__:
            raise TypeError(f"{cls.__name__}: run {cls.run} has the result {known.__name__}")


_RESULTS: dict[str, type[Result]] = {}
"""Results by the kind of their run; filled by their classes."""

AnyResult = TypeVar("AnyResult", bound=Result)


class DataResult(Result):
    """A checked dataset; `valid` is false when problems were found, and then nothing was
    published."""

    run: ClassVar[str] = "data"

    valid: bool
    digest: str | None = None
    images: int = 0
    size_bytes: int = 0
    splits: list[SplitStatus] = Field(default_factory=list)
    classes: list[ClassStatus] = Field(default_factory=list)
    class_count: int = 0
    problems: list[str] = Field(default_factory=list)
    """The first problems, each naming its file."""
    problem_count: int = 0

    def cut(self) -> None:
        """Keep ten problems, and texts of bounded length."""
        self.problems = [truncate(p, 200) for p in self.problems[:10]]
        for one in self.classes:
            one.name = truncate(one.name, 60)

    def shrink(self) -> bool:
        """Leave out a quarter of the classes, then all but three problems."""
        if self.classes:
            self.classes = self.classes[: len(self.classes) * 3 // 4]
            return True
        if len(self.problems) > 3:
            self.problems = self.problems[:3]
            return True
        return False


class TrainResult(Result):
    """A finished training."""

    run: ClassVar[str] = "train"

    weights_digest: str
    initial_weights_digest: str | None = None
    metrics: Metrics
    epochs: int
    imgsz: int
    images: int | None = None
    """Images that were trained on; None of a result that an older release has stored."""
    validation_images: int | None = None
    """Images that `metrics` were measured on."""


class ExportResult(Result):
    """A published artifact."""

    run: ClassVar[str] = "export"

    artifact: Artifact


class EvaluateResult(Result):
    """Figures on the holdout."""

    run: ClassVar[str] = "evaluate"

    evaluations: list[ArtifactEvaluation]


class Outcome(StatusModel):
    """What a pod answers. A result on success; reason and message on failure."""

    reason: str = "Succeeded"
    """One CamelCase word; becomes a condition's reason."""
    message: str = ""
    """What happened and what to do; becomes a condition's message."""
    result: SerializeAsAny[Result] | None = None

    def of(self, kind: type[AnyResult]) -> AnyResult | None:
        """The result if it is one of this kind."""
        return self.result if isinstance(self.result, kind) else None

    def termination_message(self) -> str:
        """JSON of at most MAX_BYTES bytes: long texts are cut, then the result shrinks."""
        small = self.model_copy(deep=True)
        small.message = truncate(small.message)
        if small.result:
            small.result.cut()
        text = small._json()
        while len(text.encode()) > MAX_BYTES and small.result and small.result.shrink():
            text = small._json()
        return text

    def _json(self) -> str:
        return self.model_dump_json(by_alias=True, exclude_none=True)

    @model_validator(mode="before")
    @classmethod
    def _find_result(cls, given: Any) -> Any:
        """From the JSON's form, with the result under its run's kind."""
        if not isinstance(given, Mapping) or "result" in given:
            return given
        found = {
            run: kind.model_validate(given[run])
            for run, kind in _RESULTS.items()
            if given.get(run) is not None
        }
        return {**given, "result": next(iter(found.values()), None)}

    @model_serializer(mode="wrap")
    def _name_result(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """To the JSON's form."""
        fields: dict[str, Any] = serialize(self)
        result = fields.pop("result", None)
        return fields if self.result is None else {**fields, self.result.run: result}


def parse_outcome(message: str | None) -> Outcome | None:
    """An Outcome from a termination message; None if the pod left none or it is not ours."""
    if not message:
        return None
    try:
        return Outcome.model_validate_json(message)
    except ValueError:
        return None
