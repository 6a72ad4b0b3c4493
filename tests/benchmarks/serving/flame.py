"""Draws samples of stacks as a flame graph: an SVG without scripts, for a page of Markdown.

Form: Brendan Gregg, https://www.brendangregg.com/flamegraphs.html. The width of a frame is its
share of samples; what it calls lies above it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape

WIDTH = 1200
ROW = 17
LEAST = 0.002
"""Share of all samples from which on a frame is drawn."""
LETTER = 6.6
"""Width of a letter in pixels."""
_COLOURS = ("#f2a65a", "#eec170", "#f28f3b", "#e8b04a", "#f4b183")


@dataclass
class Node:
    """A frame with what it calls."""

    samples: int = 0
    calls: dict[str, Node] = field(default_factory=dict)


def readable(stack: str) -> str:
    """A stack of py-spy's, with addresses without a symbol as the library that they are in."""
    frames = [re.sub(r"^0x[0-9a-f]+ ", "", frame) for frame in stack.split(";")]
    return ";".join(frame for frame, _ in itertools.groupby(frames))


def tree(stacks: Mapping[str, int]) -> Node:
    """Stacks, `outer;inner`, with their samples as a tree."""
    root = Node()
    for stack, count in stacks.items():
        node = root
        node.samples += count
        for name in stack.split(";"):
            node = node.calls.setdefault(name, Node())
            node.samples += count
    return root


def svg(stacks: Mapping[str, int], title: str) -> str:
    """The picture."""
    root = tree(stacks)
    boxes = list(_boxes(root, 0.0, 0, max(root.samples, 1)))
    depth = max((level for _, _, level, _, _ in boxes), default=0) + 1
    height = ROW * (depth + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="monospace" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fffdf7"/>',
        f'<text x="6" y="13">{escape(title)}: {root.samples} samples</text>',
    ]
    for left, width, level, name, samples in boxes:
        top = height - ROW * (level + 1)
        share = samples / max(root.samples, 1)
        fit = int((width - 4) / LETTER)
        shown = name if len(name) <= fit else f"{name[: fit - 1]}…" if fit > 2 else ""
        parts.append(
            f'<g><title>{escape(name)} {share:.1%}</title><rect x="{left:.1f}" y="{top}" '
            f'width="{max(width - 0.5, 0.5):.1f}" height="{ROW - 1}" fill="{_colour(name)}"/>'
            + (f'<text x="{left + 2:.1f}" y="{top + 12}">{escape(shown)}</text>' if shown else "")
            + "</g>"
        )
    return "\n".join([*parts, "</svg>", ""])


def _boxes(
    node: Node, left: float, level: int, whole: int
) -> Iterator[tuple[float, float, int, str, int]]:
    """Left edge, width, level, name and samples of each frame that is wide enough."""
    for name, one in sorted(node.calls.items()):
        width = WIDTH * one.samples / whole
        if one.samples >= LEAST * whole:
            yield left, width, level, name, one.samples
            yield from _boxes(one, left, level + 1, whole)
        left += width


def _colour(name: str) -> str:
    # Not hash(): its values differ between runs.
    return _COLOURS[sum(name.encode()) % len(_COLOURS)]
