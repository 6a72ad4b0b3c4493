"""Collects the problems of a dataset: all are counted, the first ones are listed."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelyard.contract.statustext import truncate_middle

LISTED = 10
"""As many as a Dataset's status lists."""
PATH = 120
"""Characters of a path that are shown: what is wrong with the file must still fit."""


@dataclass
class Problems:
    """What is wrong, in the order of the files."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, where: str, what: str) -> None:
        """One problem: `where` is a path relative to the dataset's root."""
        self.count += 1
        if len(self.first) < LISTED:
            self.first.append(f"{truncate_middle(where, PATH)}: {what}")

    def __bool__(self) -> bool:
        return self.count > 0
