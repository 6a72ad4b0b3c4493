"""Registers the toy kind in a process of its own and says where it turns up.

`python -m tests.toykind FOLDER` does what adding `api/survey.py`, `core/survey/`, one entry in
`ALL_KINDS` and `make crds` would do, with what is generated going to FOLDER. It prints JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import modelyard.api
from modelyard.api import kinds

from . import survey

ROOT = Path(__file__).parents[2]
# The one registration. Whatever reads the kinds is imported afterwards.
kinds.ALL_KINDS = modelyard.api.ALL_KINDS = (*kinds.ALL_KINDS, survey.KIND)
for part in ("decide", "reasons"):
    found = importlib.import_module(f"{__package__}.{part}")
    sys.modules[f"modelyard.core.survey.{part}"] = found


def generate(folder: Path) -> dict[str, Any]:
    """What `make crds` writes, into a folder; returns what Argo CD and the reference say."""
    from modelyard.api import chart
    from modelyard.api.crd import write_all
    from modelyard.api.reference import reference

    write_all(folder / "crds")
    (folder / "kinds.yaml").write_text(chart.render())
    argocd, values = importlib.import_module("argocd"), importlib.import_module("chart_values")
    (folder / "values.yaml").write_text(values.render(values.VALUES.read_text()))
    return {"argocd": argocd.render(), "reference": reference()}


def operator() -> dict[str, Any]:
    """The operator's engine: controllers, triggers, usedBy, settings."""
    from modelyard.core.controllers import CONTROLLERS
    from modelyard.core.settings import Settings
    from modelyard.kube.kinds import by_name
    from modelyard.runtime.routing import Router

    from ..unit.core.world import World, dataset, obj

    one = obj("Survey", "one", {"dataset": {"name": "shelf"}})
    two = obj("Survey", "two", {"dataset": {"name": "shelf"}, "after": {"name": "one"}})
    old = obj("Survey", "old", {"dataset": {"name": "shelf"}}, phase="Done", runHash="1")
    world = World(dataset(), one, two, old)
    mine = next(c for c in CONTROLLERS if c.kind == "Survey")
    of_dataset = next(c for c in CONTROLLERS if c.kind == "Dataset")
    return {
        "controllers": [c.kind for c in CONTROLLERS],
        "watched": list(Router.watched(CONTROLLERS)),
        "url": by_name("Survey").path("shop", "one"),
        "reconciled by a Survey": sorted(
            str(key)
            for mapper in (of_dataset.triggers["Survey"], mine.triggers["Survey"])
            for key in mapper(two, world)
        ),
        "reconciled by a Dataset": sorted(map(str, mine.triggers["Dataset"](dataset(), world))),
        "written by pods": list(mine.pod_owned_fields),
        "usedBy of the Dataset": world.settle("Dataset", "shelf")["status"].get("usedBy"),
        "usedBy of one": world.settle("Survey", "one")["status"].get("usedBy"),
        "usedBy of two": world.settle("Survey", "two")["status"].get("usedBy"),
        "resources": dict(Settings().resources["survey"]),
        "account": Settings().service_account(survey.KIND.reporter),
    }


def person() -> dict[str, Any]:
    """What a person sees with the CLI."""
    from modelyard.cli import chain
    from modelyard.cli.status import plain_lines

    from ..unit.core.world import obj, ready_dataset

    seen = obj("Survey", "monday", {"dataset": {"name": "shelf"}, "sample": 9}, phase="Running")
    trees = chain.build({"Dataset": [ready_dataset()], "Survey": [seen]})
    return {"tree": list(plain_lines(trees, many=False))}


def parameters(folder: Path) -> dict[str, Any]:
    """Which tests are repeated for the kind."""
    from ..cluster.admission import conftest, test_policies, test_reporters
    from ..cluster.fields import experiment, walking

    walking.CRDS = folder / "crds"
    from ..cluster.faults import invariants, normal, resources, scene
    from ..cluster.fields import cases, test_fields
    from ..unit import test_operations
    from ..unit.api import test_generated, test_registration

    leaves = [leaf for leaf in test_fields.LEAVES if leaf.kind == "Survey"]
    return {
        "fields": [leaf.path for leaf in leaves],
        "values of each field": [len(list(cases.trials(leaf))) for leaf in leaves],
        "fields, carried out": "Survey" in experiment.RECONCILED,
        "fields, changed": "Survey" in experiment.CHANGEABLE,
        "admission, an example": conftest.EXAMPLES["Survey"],
        "admission, in use": _repeated(test_policies.test_used_objects_are_kept),
        "admission, declared": list(test_policies.DECLARED),
        "admission, reporters": [info.kind for info in test_reporters.REPORTED],
        "faults, followed": resources.COLLECTIONS["Survey"],
        "faults, deleted in order": list(scene.DECLARED),
        "faults, compared": "Survey" in normal.OURS,
        "faults, made once": list(invariants.MADE_ONCE),
        "operations, reasons": _repeated(test_operations.test_reasons_of_a_kind),
        "generated": _repeated(test_generated.test_crds_are_in_step_with_the_models),
        "registration": _repeated(test_registration.test_every_path_is_a_field),
    }


def _repeated(test: Any) -> list[str]:
    """The kinds that a test is repeated for."""
    (mark,) = (mark for mark in test.pytestmark if mark.name == "parametrize")
    return [getattr(value, "kind", value) for value in mark.args[1]]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "hack"))
    target = Path(sys.argv[1])
    said = {
        "generated": generate(target),
        "operator": operator(),
        "person": person(),
        "parameters": parameters(target),
    }
    print(json.dumps(said))
