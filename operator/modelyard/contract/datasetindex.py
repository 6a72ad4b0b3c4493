"""A dataset version: the index whose digest is the dataset's digest.

The index names the shards of each split by digest. A shard is an uncompressed tar with sorted
names and no times or owners, so that equal content is equal bytes, wherever it came from:

    images/<split>/<name>.<suffix>
    labels/<split>/<name>.txt       class x y w h per line; empty for a background
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from modelyard.api.base import ApiModel, Digest

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")

MAX_SHARD_BYTES = 512 * 1024 * 1024
"""Bytes that a shard may hold before the next one begins."""


class Shard(ApiModel):
    """One tar."""

    digest: Digest
    """Content digest."""
    size_bytes: int = Field(gt=0)
    """Size in bytes."""
    images: int = Field(gt=0)
    """Number of images."""


class SplitIndex(ApiModel):
    """One split."""

    name: SplitName
    """train, val or test."""
    shards: list[Shard]
    """The tars, in the order of their names."""
    images: int = Field(ge=0)
    """Number of images."""
    boxes: int = Field(ge=0)
    """Number of labelled boxes."""
    backgrounds: int = Field(ge=0)
    """Images without a box."""
    class_boxes: list[int]
    """Boxes of each class, by class id."""


class DatasetIndex(ApiModel):
    """An immutable dataset version."""

    version: Literal[1] = 1
    """Of this layout."""
    task: Literal["detect"] = "detect"
    """What the labels are for."""
    classes: list[str] = Field(min_length=1)
    """Class names, by class id."""
    splits: list[SplitIndex] = Field(min_length=1)
    """The splits, in the order train, val, test."""

    @model_validator(mode="after")
    def _splits_once(self) -> Self:
        names = [split.name for split in self.splits]
        if names != [name for name in SPLITS if name in names]:
            raise ValueError(f"splits {names} are not some of {list(SPLITS)} in this order")
        return self

    @property
    def size_bytes(self) -> int:
        """Bytes of all shards."""
        return sum(shard.size_bytes for split in self.splits for shard in split.shards)

    def split(self, name: str) -> SplitIndex | None:
        """The split of that name, if there is one."""
        return next((split for split in self.splits if split.name == name), None)

    def dump(self) -> bytes:
        """The index as stored; equal indexes are equal bytes."""
        return self.model_dump_json(by_alias=True).encode()


def parse_index(text: str | bytes) -> DatasetIndex:
    """An index from JSON. Raises pydantic.ValidationError, a ValueError."""
    return DatasetIndex.model_validate_json(text)
