"""`make crds`: everything that is generated from the models.

`crds/`, the chart's copies of them, `docs/reference.md`, and Argo CD's settings. Tests fail when a
file differs.
"""

from __future__ import annotations

from pathlib import Path

import argocd
from sync_chart_crds import sync

from modelyard.api.crd import write_all
from modelyard.api.reference import reference

ROOT = Path(__file__).parent.parent

if __name__ == "__main__":
    written = write_all(ROOT / "crds")
    written += sync(ROOT / "crds", ROOT / "charts/modelyard/templates/crds")
    page = ROOT / "docs/reference.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text(reference())
    argocd.RESULT.write_text(argocd.render())
    for path in [*written, page, argocd.RESULT]:
        print(path.relative_to(ROOT))
