"""Shows the coverage that the unit tests reached, and fails where decisions lack tests.

Reads the data that `pytest --cov` left. Lines and branches count together, as coverage.py's own
total does; a branch is one way out of an `if`, a loop or a `match`.

Usage: python hack/coverage_floor.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

FLOOR = {"core": 95.0}
"""Least coverage of a package of `modelyard`, in percent."""


def by_package(report: dict[str, Any]) -> dict[str, Counter[str]]:
    """Sums of coverage.py's JSON report for each package of `modelyard`."""
    packages: dict[str, Counter[str]] = {}
    for path, measured in report["files"].items():
        package = Path(path).parts[2]  # operator/modelyard/PACKAGE/…
        sums = packages.setdefault(package, Counter())
        for key, number in measured["summary"].items():
            if isinstance(number, int):
                sums[key] += number
    return packages


def percent(sums: Counter[str]) -> float:
    """Lines and branches that were run, of all."""
    run = sums["covered_lines"] + sums["covered_branches"]
    return 100.0 * run / (sums["num_statements"] + sums["num_branches"] or 1)


def main() -> int:
    """Exit code 1 where a package is below its floor."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, "-m", "coverage", "json", "--quiet", "-o", file.name]
        subprocess.run(command, check=True)
        packages = by_package(json.load(file))
    low = []
    for name, sums in sorted(packages.items()):
        reached, least = percent(sums), FLOOR.get(name)
        print(
            f"coverage of {name:9} {reached:5.1f} %  lines {sums['covered_lines']} of "
            f"{sums['num_statements']}, branches {sums['covered_branches']} of "
            f"{sums['num_branches']}" + (f", at least {least:g} % wanted" if least else "")
        )
        if least is not None and reached < least:
            low.append(name)
    for name in low:
        print(
            f"error: {name} lacks tests: {sys.executable} -m coverage report --include "
            f"'*/modelyard/{name}/*' shows the lines",
            file=sys.stderr,
        )
    return 1 if low else 0


if __name__ == "__main__":
    raise SystemExit(main())
