"""Queries of Prometheus: what their placeholders stand for."""

from __future__ import annotations

import re
from collections.abc import Mapping

from modelyard.core import meta
from modelyard.core.plan import KubeObject

_PLACEHOLDER = re.compile(r"\{\{\s*([\w.]*)\s*\}\}")


def placeholders(
    obj: KubeObject, *, model_line: str, candidate: int, stable: int
) -> dict[str, str]:
    """What {{…}} in a Deployment's queries stand for."""
    return {
        "candidate": str(candidate),
        "stable": str(stable),
        "modelLine": model_line,
        "deployment": meta.name(obj),
        "namespace": meta.namespace(obj),
    }


def filled(query: str, words: Mapping[str, str]) -> tuple[str, str]:
    """The query with its placeholders filled in, and what is wrong with it: Prometheus would take
    a misspelt one for a value that nothing has."""
    unknown = [word for word in _PLACEHOLDER.findall(query) if word not in words]
    if unknown:
        known = ", ".join(words)
        return query, f"the query has {{{{{unknown[0]}}}}}, which stands for nothing: take {known}"
    return _PLACEHOLDER.sub(lambda found: words[found[1]], query), ""
