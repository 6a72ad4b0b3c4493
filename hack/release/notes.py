"""Release notes: the version's section of CHANGELOG.md."""

from __future__ import annotations

import re

from tree import ReleaseError


def of_version(changelog: str, version: str) -> str:
    """The text below `## [VERSION] - DATE`. Raises ReleaseError if there is none, or no date."""
    heading = re.compile(rf"^## \[{re.escape(version)}\] - (\S+)$", re.MULTILINE)
    found = heading.search(changelog)
    if found is None:
        raise ReleaseError(
            f"CHANGELOG.md has no line `## [{version}] - DATE`: rename its section Unreleased"
        )
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", found[1]):
        raise ReleaseError(f"CHANGELOG.md: the date of {version} is {found[1]}, not YYYY-MM-DD")
    rest = changelog[found.end() :]
    body = re.split(r"^(?:## |\[[^\]]+\]: )", rest, maxsplit=1, flags=re.MULTILINE)[0].strip()
    if not body:
        raise ReleaseError(f"CHANGELOG.md says nothing about {version}")
    return f"# Modelyard {version}\n\n{body}\n"
