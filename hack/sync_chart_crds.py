"""Copies `crds/` into the chart as templates, so that `helm upgrade` upgrades them too.

Files in a chart's own `crds/` folder are installed once and never upgraded; as templates they can
also be switched off (`crds.enabled`) and outlive the release (`crds.keep`).

Usage: python hack/sync_chart_crds.py [CRDS] [TEMPLATES]
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
_NAME = "\nmetadata:\n  name: "
_METADATA = """\
  labels: {{- include "modelyard.labels" (dict "root" $ "component" "crds") | nindent 4 }}
  {{- if .Values.crds.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
"""


def template(manifest: str) -> str:
    """A CRD's YAML as a Helm template. Raises ValueError where it has no metadata.name."""
    if _NAME not in manifest:
        raise ValueError("the manifest does not have `metadata:` followed by `name:`")
    # Braces in a description would be taken for template actions.
    escaped = manifest.replace("{{", '{{ "{{" }}')
    head, rest = escaped.split(_NAME, 1)
    name, body = rest.split("\n", 1)
    return (
        "{{- if .Values.crds.enabled }}\n"
        f"{head}{_NAME}{name}\n{_METADATA}{body.rstrip()}\n"
        "{{- end }}\n"
    )


def sync(source: Path, target: Path) -> list[Path]:
    """Makes `target` hold exactly one template for each CRD in `source`; returns their paths."""
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for path in sorted(source.glob("*.yaml")):
        copy = target / path.name
        copy.write_text(template(path.read_text()))
        written.append(copy)
    for stale in set(target.glob("*.yaml")) - set(written):
        stale.unlink()
    return written


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    defaults = [ROOT / "crds", ROOT / "charts/modelyard/templates/crds"]
    for made in sync(*(given + defaults[len(given) :])):
        print(made)
