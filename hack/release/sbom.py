"""The Python packages of the images, as a CycloneDX software bill of materials.

From the files `images/*/requirements*.txt`, which pin what is installed. Packages of Debian and the
servers (Triton, versitygw) are not in it. https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(?P<range>[=<>!~][^#;]*)?")


def render(root: Path, version: str, time: int) -> str:
    """The bill as JSON; the same for the same commit."""
    libraries: dict[str, dict[str, Any]] = {}
    images, dependencies = [], []
    for path in sorted((root / "images").glob("*/requirements*.txt")):
        name = path.parent.name + path.stem.removeprefix("requirements")
        found = [_library(*package) for package in packages(path.read_text())]
        libraries |= {one["bom-ref"]: one for one in found}
        image = {"type": "container", "bom-ref": f"image:{name}", "name": name, "version": version}
        images.append(image)
        dependencies.append(
            {"ref": image["bom-ref"], "dependsOn": sorted(one["bom-ref"] for one in found)}
        )
    top = {
        "type": "application",
        "bom-ref": "modelyard",
        "name": "modelyard",
        "version": version,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }
    dependencies.append({"ref": "modelyard", "dependsOn": [one["bom-ref"] for one in images]})
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'modelyard:{version}:{time}')}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": top,
        },
        "components": [*images, *(libraries[ref] for ref in sorted(libraries))],
        "dependencies": dependencies,
    }
    return json.dumps(bill, indent=1) + "\n"


def packages(requirements: str) -> list[tuple[str, str]]:
    """Names and version ranges of a requirements file, in its order."""
    found = []
    for line in requirements.splitlines():
        match = PINNED.match(line.strip())
        if match:
            found.append((match["name"], (match["range"] or "").strip()))
    return found


def _library(name: str, versions: str) -> dict[str, Any]:
    """A component. A version that is not pinned is given as the range that it comes from."""
    normal = re.sub(r"[-_.]+", "-", name).lower()
    if versions.startswith("=="):
        version = versions.removeprefix("==").strip()
        purl = f"pkg:pypi/{normal}@{version.replace('+', '%2B')}"
        return {
            "type": "library",
            "bom-ref": purl,
            "name": normal,
            "version": version,
            "purl": purl,
        }
    return {
        "type": "library",
        "bom-ref": f"pkg:pypi/{normal}",
        "name": normal,
        "purl": f"pkg:pypi/{normal}",
        "properties": [{"name": "modelyard:versions", "value": versions or "any"}],
    }
