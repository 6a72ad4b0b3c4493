"""Writes the table of arguments of Ultralytics' `train()` that `api/hyperparameters.py` reads.

Run in the trainer image after every change of the Ultralytics version:

    python -m modelyard.workloads.train.hyperparameter_table > api/hyperparameters.json

Names, defaults and types come from Ultralytics' default configuration, ranges from the sets of
keys that its own `check_cfg` reads. The table is data about the interface; the describing texts
stay with Ultralytics.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

_SECTION = re.compile(r"^# (?P<title>[A-Za-z/. ]+?)(?: settings)? -{10,}$")
_ARGUMENT = re.compile(r"^(?P<name>[a-z0-9_]+):[^#]*# \((?P<types>[^)]*)\)")

_TYPES = {
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "str": "string",
    "list": "list",
    "list[int]": "list",
    "tuple": "list",
}
_OTHER_MODES = {"Predict", "Visualize", "Export", "Custom config.yaml", "Tracker"}
"""Sections whose arguments belong to other modes."""
_SHARED = {"classes", "agnostic_nms", "augment"}
"""Arguments listed under predict that training's data loading or validation reads too."""


def table() -> dict[str, Any]:
    """The table: the Ultralytics version, and for each argument its types (JSON schema's names),
    default, range and whether training uses it."""
    import ultralytics
    from ultralytics import cfg
    from ultralytics.utils import DEFAULT_CFG_DICT, DEFAULT_CFG_PATH

    declared = _declared(Path(DEFAULT_CFG_PATH).read_text(encoding="utf-8"))
    arguments = {
        name: _argument(name, default, *declared[name], cfg)
        for name, default in sorted(DEFAULT_CFG_DICT.items())
    }
    return {"ultralytics": ultralytics.__version__, "arguments": arguments}


def _declared(text: str) -> dict[str, tuple[str, list[str]]]:
    """Section and declared types of each argument in Ultralytics' default configuration."""
    section, found = "", {}
    for line in text.splitlines():
        if match := _SECTION.match(line):
            section = match["title"]
        elif match := _ARGUMENT.match(line):
            found[match["name"]] = (section, re.split(r"[|,]\s*|\s+\|\s*", match["types"]))
    return found


def _argument(
    name: str, default: Any, section: str, declared: list[str], cfg: Any
) -> dict[str, Any]:
    types = [_TYPES[t.strip()] for t in declared if t.strip() in _TYPES]
    if name in cfg.CFG_FLOAT_KEYS | cfg.CFG_FRACTION_KEYS and "number" not in types:
        types.append("number")
    if "number" in types and "integer" in types:
        types.remove("integer")
    row: dict[str, Any] = {"types": sorted(set(types)), "default": default}
    if "optional" in (t.strip() for t in declared) or default is None:
        row["optional"] = True
    if name in cfg.CFG_FRACTION_KEYS and name != "fraction":
        row |= {"minimum": 0, "maximum": 1}
    elif name in cfg.CFG_INT_MIN:
        row["minimum"] = cfg.CFG_INT_MIN[name]
    if section in _OTHER_MODES and name not in _SHARED:
        row["training"] = False
    return row


if __name__ == "__main__":
    json.dump(table(), sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")
