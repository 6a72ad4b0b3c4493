"""A small YAML file does not stand for gigabytes, wherever it is copied, merged or printed."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pytest

from modelyard.workloads.data import boundedyaml
from modelyard.workloads.data.datafile import read_data_file
from modelyard.workloads.data.errors import DatasetError


def bomb(kind: str, levels: int = 8) -> str:
    """Each level names the one before nine times."""
    lines = ["a0: &a0 {x: laughs}" if kind == "merge" else "a0: &a0 [laughs]"]
    for level in range(1, levels + 1):
        names = ", ".join([f"*a{level - 1}"] * 9)
        part = f"{{<<: [{names}]}}" if kind == "merge" else f"[{names}]"
        lines.append(f"a{level}: &a{level} {part}")
    return "\n".join([*lines, f"nc: *a{levels}", "names: [a]", "train: x", "val: x"])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (bomb("list"), "characters when its aliases are written out"),
        (bomb("merge"), "characters when its aliases are written out"),
        ("a: &a [*a]", "stands for nothing before it"),
        ("[" * 100_000, "nesting depth"),
        ("- " * 100 + "x", "nests more than 32 levels"),
        ("nc: " + ":".join(["1"] * 2_000_000), "more than 4096 characters"),
        ("nc: " + "9" * 100_000, "more than 4096 characters"),
    ],
    ids=[
        "aliases",
        "merges",
        "itself",
        "depth",
        "depth in blocks",
        "a number to the base of 60",
        "a long number",
    ],
)
def test_a_bomb_is_refused_before_it_is_built(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "data.yaml").write_text(text)
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(DatasetError, match=problem):
        read_data_file(tmp_path, "data.yaml")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.process_time() - started < 1
    assert peak < 40 * 1024 * 1024


@pytest.mark.parametrize(
    "text",
    [
        "nc: 2001-99-99",
        "nc: !!int x",
        "nc: !!float x",
        "nc: !!timestamp x",
        "nc: !!binary x",
        "{[1]: 2}",
        "names: {.inf: a}\ntrain: x\nval: x",
        'names: [a]\ntrain: x\nval: x\npath: "a\\0b"',
        f"names: [a]\ntrain: x\nval: x\npath: {'a' * 300}",
    ],
)
def test_values_that_are_none_are_the_files_fault(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DatasetError, match=r"data\.yaml: "):
        read_data_file(tmp_path, "data.yaml")


def test_ordinary_aliases_and_merges_are_read() -> None:
    text = "a: &a {x: 1}\nb: {<<: *a, y: *a}\nnames: &n [p, q]\nagain: *n"
    assert boundedyaml.load(text) == {
        "a": {"x": 1},
        "b": {"x": 1, "y": {"x": 1}},
        "names": ["p", "q"],
        "again": ["p", "q"],
    }
