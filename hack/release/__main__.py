"""`make release VERSION=x.y.z`: all files of a release, in `dist/x.y.z`. Publishes nothing.

Images as archives, the chart, a wheel of each distribution, an SBOM, release notes, and checksums
of all of it. It refuses what could not be built again from the tag: a tree with changes, a version
that exists, or one that the tree does not have. docs/releasing.md says what comes before and after.

Usage: python hack/release VERSION [--no-images] [--registry HOST/PATH]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import chart
import distributions
import notes
import sbom
import tree

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 refused or failed, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="release", description=__doc__.partition("\n")[0])
    parser.add_argument("version", help="such as 0.2.0")
    parser.add_argument("--no-images", action="store_true", help="leave the images' archives out")
    parser.add_argument(
        "--registry", default="docker.io/modelyard", help="where the chart's images will be"
    )
    options = parser.parse_args(arguments)
    try:
        target = release(options.version, images=not options.no_images, registry=options.registry)
    except (tree.ReleaseError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in sorted(target.rglob("*")):
        if path.is_file():
            print(f"{path.stat().st_size:>12,}  {path.relative_to(ROOT)}")
    print(
        "\nNothing was published or tagged. Next: docs/releasing.md, from "
        f"`git tag v{options.version}`."
    )
    return 0


def release(version: str, *, images: bool, registry: str) -> Path:
    """Make all files of a release; returns their folder. Raises ReleaseError if it is refused."""
    tree.check(ROOT, version)
    text = notes.of_version((ROOT / "CHANGELOG.md").read_text(), version)
    commit_time = tree.commit_time(ROOT)
    # Archives made of the same commit are the same, whenever they are made.
    os.environ["SOURCE_DATE_EPOCH"] = str(commit_time)
    target = ROOT / "dist" / version
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    (target / "NOTES.md").write_text(text)
    distributions.build(ROOT, target)
    chart.package(ROOT / "charts/modelyard", target, version, registry, commit_time)
    (target / f"modelyard-{version}.cdx.json").write_text(sbom.render(ROOT, version, commit_time))
    if images:
        # Long, and the same whenever it is repeated: what was built before is reused.
        command = [sys.executable, str(ROOT / "images/build.py"), "--archive-dir"]
        subprocess.run([*command, str(target / "images")], check=True)
    _sums(target)
    return target


def _sums(target: Path) -> None:
    """Write SHA256SUMS, for `sha256sum --check`."""
    lines = []
    for path in sorted(target.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            lines.append(f"{digest}  {path.relative_to(target)}\n")
    (target / "SHA256SUMS").write_text("".join(lines))


if __name__ == "__main__":
    raise SystemExit(main())
