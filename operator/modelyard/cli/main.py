"""The entry point of `modelyard` and of `kubectl modelyard`."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

import typer

from modelyard.api.base import API_VERSION
from modelyard.cli import cluster, predict, status, weights
from modelyard.cli.errors import INTERRUPTED, CliError

app = typer.Typer(
    name="modelyard",
    help="Takes vision models from a dataset to a serving Triton, as Kubernetes objects.",
    no_args_is_help=True,
    # An error that we did not foresee is a bug, and a bug report needs the plain traceback.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(status.status)
app.command()(predict.predict)
app.add_typer(weights.app)
app.add_typer(cluster.app)


@app.command()
def version() -> None:
    """Show the version of this tool and of the API that it speaks."""
    typer.echo(f"modelyard {installed_version('modelyard')} ({API_VERSION})")


def main() -> None:
    """Runs the command line; what a person can act on is told in one line."""
    try:
        app(prog_name=program(sys.argv[0]))
    except CliError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) has seen enough; what is still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def program(invoked: str) -> str:
    """What the user calls us by: kubectl runs plugins as kubectl-NAME."""
    name = Path(invoked).name.removesuffix(".exe")
    return "kubectl modelyard" if name == "kubectl-modelyard" else "modelyard"


if __name__ == "__main__":
    main()
