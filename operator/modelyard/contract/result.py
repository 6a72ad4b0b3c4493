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

from modelyard.api.base import Digest, Metrics, StatusModel
from modelyard.api.dataset import ClassStatus, SplitStatus
from modelyard.api.evaluation import ArtifactEvaluation, VersionProfile
from modelyard.api.export import Artifact
from modelyard.contract.statustext import MAX_MESSAGE, truncate

MAX_BYTES = 4096
_LIMITS = (MAX_MESSAGE, 400, 200, 100, 40)
"""Maximum characters of a text, tried one after the other until all fits: a character may take
one byte or four, so no single limit serves both English and other languages."""


class Result(StatusModel):
    """What a successful run of one kind has found out or made."""

    run: ClassVar[str]
    """The run's kind, under which an Outcome holds it."""

    def cut(self, limit: int) -> None:
        """Shorten texts of any length to `limit` characters or less."""

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

    def cut(self, limit: int) -> None:
        """Keep ten problems, and texts of bounded length."""
        self.problems = [truncate(p, min(limit, 200)) for p in self.problems[:10]]
        for one in self.classes:
            one.name = truncate(one.name, min(limit, 60))

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
    """A finished training, as a pod tells it that runs code of the user's choice.

    `metrics` are shown and decide nothing: a version is judged by its own evaluation. What goes on
    into the ModelVersion has the bounds of that kind's schema.
    """

    run: ClassVar[str] = "train"

    weights_digest: Digest
    initial_weights_digest: Digest | None = None
    metrics: Metrics
    epochs: int
    imgsz: int = Field(ge=32, le=8192)
    images: int | None = Field(default=None, ge=0, le=100_000_000)
    """Images that were trained on; None of a result that an older release has stored."""
    validation_images: int | None = Field(default=None, ge=0, le=100_000_000)
    """Images that `metrics` were measured on."""


class ExportResult(Result):
    """A published artifact."""

    run: ClassVar[str] = "export"

    artifact: Artifact


class EvaluateResult(Result):
    """Figures on the holdout."""

    run: ClassVar[str] = "evaluate"

    evaluations: list[ArtifactEvaluation]
    profile: VersionProfile | None = None
    """None where no ONNX artifact was evaluated."""

    def shrink(self) -> bool:
        """Leave out the times, which are informative, then figures beyond six decimals."""
        if any(one.milliseconds_per_image is not None for one in self.evaluations):
            for one in self.evaluations:
                one.milliseconds_per_image = None
            return True
        rounded = [{k: round(v, 6) for k, v in one.metrics.items()} for one in self.evaluations]
        if rounded == [one.metrics for one in self.evaluations]:
            return False
        for one, metrics in zip(self.evaluations, rounded, strict=True):
            one.metrics = metrics
        return True


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
        """JSON of at most MAX_BYTES bytes, whatever the texts: they are cut, then the result
        shrinks, then the texts are cut shorter.

        Raises ValueError for a result that does not fit even so: its kind lacks a `shrink`.
        """
        text = ""
        for limit in _LIMITS:
            small = self.model_copy(deep=True)
            small.reason = truncate(small.reason, min(limit, 100))
            small.message = truncate(small.message, limit)
            if small.result:
                small.result.cut(limit)
            text = small._json()
            while len(text.encode()) > MAX_BYTES and small.result and small.result.shrink():
                text = small._json()
            if len(text.encode()) <= MAX_BYTES:
                return text
        raise ValueError(f"the result takes {len(text.encode())} bytes, more than {MAX_BYTES}")

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
