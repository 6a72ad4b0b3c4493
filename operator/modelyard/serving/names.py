"""Names of the models in Triton.

A generation is one version with one set of pipeline settings; its models are never changed
once written, so a new version or new settings always come up beside what serves. Clients only
use the stable names: the model line, and `<line>-network`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"^(?P<version>[1-9][0-9]*)-(?P<digest>[0-9a-f]{8})$")


def pipeline_name(line: str) -> str:
    """The model that clients call: encoded image in, boxes out."""
    return line


def network_name(line: str) -> str:
    """The bare network under a stable name: image tensor in, raw outputs out."""
    return f"{line}-network"


def stable_names(line: str) -> tuple[str, str]:
    """The names that clients use."""
    return (pipeline_name(line), network_name(line))


@dataclass(frozen=True, order=True)
class Generation:
    """One version of a model line with one set of settings."""

    line: str
    """Model line."""
    version: int
    """Version number within the line."""
    digest: str
    """8 hexadecimal digits: a hash of settings, artifact and pipeline code."""

    @property
    def name(self) -> str:
        """The ensemble of the generation's steps."""
        return f"{self.line}-{self.version}-{self.digest}"

    @property
    def pipeline(self) -> str:
        """The only step where one computes all: encoded image to boxes."""
        return f"{self.name}-pipeline"

    @property
    def preprocess(self) -> str:
        """The first of three steps: encoded image to tensor."""
        return f"{self.name}-preprocess"

    @property
    def network(self) -> str:
        """The second of three steps: the network."""
        return f"{self.name}-network"

    @property
    def postprocess(self) -> str:
        """The last of three steps: network output to boxes."""
        return f"{self.name}-postprocess"

    @property
    def models(self) -> tuple[str, ...]:
        """All models that the generation may have, dependents first."""
        return (self.name, self.pipeline, self.preprocess, self.network, self.postprocess)


def parse_generation(line: str, name: str) -> Generation | None:
    """The generation whose ensemble is called `name`; None if it is no ensemble of the line."""
    if not name.startswith(f"{line}-"):
        return None
    match = _NAME.match(name[len(line) + 1 :])
    if match is None:
        return None
    return Generation(line, int(match["version"]), match["digest"])


def parse_model(line: str, name: str) -> Generation | None:
    """The generation that any of its models belongs to; None for other models."""
    for suffix in ("-pipeline", "-preprocess", "-network", "-postprocess", ""):
        if name.endswith(suffix):
            generation = parse_generation(line, name[: len(name) - len(suffix)])
            if generation is not None:
                return generation
    return None
