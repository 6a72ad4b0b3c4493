"""The entry point of `modelyard` and of `kubectl modelyard`."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import version as installed_version
from typing import Any

import typer
from typer.core import TyperGroup

from modelyard.api.base import API_VERSION
from modelyard.cli import history, predict, rollout, status, weights
from modelyard.cli.errors import FAILED, INTERRUPTED, CliError
from modelyard.cli.options import program

LATER = {"cluster": "modelyard.cli.cluster", "demo": "modelyard.cli.demo.command"}
"""Commands whose modules take long to import: only where they are meant, or listed."""


class _Commands(TyperGroup):
    """The commands, those of LATER imported when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *LATER]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in LATER:
            return super().get_command(ctx, cmd_name)
        command = typer.main.get_command(importlib.import_module(LATER[cmd_name]).app)
        command.name = cmd_name
        return command


app = typer.Typer(
    name="modelyard",
    cls=_Commands,
    help="Takes vision models from a dataset to a serving Triton, as Kubernetes objects.",
    no_args_is_help=True,
    # An error that we did not foresee is a bug, and a bug report needs the plain traceback.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(status.status)
app.add_typer(rollout.app)
app.command()(history.history)
app.command()(predict.predict)
app.add_typer(weights.app)


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
    except Exception as error:
        if not _for_people(error):
            raise
        typer.echo(f"Error: {error}", err=True)
        sys.exit(FAILED)


def _for_people(error: Exception) -> bool:
    """Whether an error of the cluster tool or the demo says what to do."""
    from modelyard.cli.demo.errors import DemoError
    from modelyard.cluster.errors import ClusterError

    return isinstance(error, DemoError | ClusterError)


if __name__ == "__main__":
    main()
