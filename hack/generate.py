"""`make crds`: everything that is generated from the models.

`crds/`, which the chart reads too, the chart's files/kinds.yaml and its default resources,
`docs/reference.md`, and Argo CD's settings. Tests fail when a file differs.
"""

from __future__ import annotations

from pathlib import Path

import argocd
import chart_values

from modelyard.api import chart
from modelyard.api.crd import write_all
from modelyard.api.reference import reference

ROOT = Path(__file__).parent.parent

if __name__ == "__main__":
    written = {
        ROOT / "docs/reference.md": reference(),
        ROOT / "charts/modelyard/files/kinds.yaml": chart.render(),
        argocd.RESULT: argocd.render(),
        chart_values.VALUES: chart_values.render(chart_values.VALUES.read_text()),
    }
    for path, text in written.items():
        path.write_text(text)
    for path in [*write_all(ROOT / "crds"), *written]:
        print(path.relative_to(ROOT))
