"""Options shared by several commands, and the name under which the program was invoked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Kubeconfig = Annotated[
    Path | None,
    typer.Option("--kubeconfig", help="Path of the kubeconfig.", envvar=None, show_default=False),
]
Context = Annotated[
    str | None, typer.Option("--context", help="Context of the kubeconfig.", show_default=False)
]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Namespace; default: the context's."),
]


def program(invoked: str) -> str:
    """The program name to show in messages: kubectl runs plugins as kubectl-NAME."""
    name = Path(invoked).name.removesuffix(".exe")
    return "kubectl modelyard" if name == "kubectl-modelyard" else "modelyard"
