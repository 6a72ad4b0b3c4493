"""The entry point of `modelyard` and of `kubectl modelyard`.

Commands that work with any cluster are modules of this package. Other distributions add commands
through entry points: modelyard-local (`hack/local` in a checkout) brings `modelyard cluster` and
`modelyard demo`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from importlib.metadata import version as installed_version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from modelyard.api.base import API_VERSION
from modelyard.cli import captures, drift, history, predict, rollout, status, store, weights
from modelyard.cli.errors import INTERRUPTED, USAGE, CliError
from modelyard.cli.options import program

ENTRY_POINTS = "modelyard.commands"
"""Group of entry points, each of which names the `typer.Typer` of a further command."""
LOCAL = ("cluster", "demo")
"""Commands of the distribution modelyard-local."""


class _Commands(TyperGroup):
    """The commands of this package and those of entry points.

    Entry points are loaded only when they are called or listed, since imports may be slow.
    """

    @cached_property
    def _plugins(self) -> Mapping[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=ENTRY_POINTS)}

    def list_commands(self, ctx: Any) -> list[str]:
        return list(dict.fromkeys([*super().list_commands(ctx), *sorted(self._plugins)]))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        if cmd_name in self._plugins:
            command = typer.main.get_command(self._plugins[cmd_name].load())
            command.name = cmd_name
            return command
        if cmd_name in LOCAL:
            raise CliError(
                f"`modelyard {cmd_name}` comes with the package modelyard-local, which is not "
                "installed here; in a checkout of Modelyard: pip install . ./hack/local",
                USAGE,
            )
        return None


app = typer.Typer(
    name="modelyard",
    cls=_Commands,
    help="Takes vision models from a dataset to a serving Triton, as Kubernetes objects.",
    no_args_is_help=True,
    # Any other exception is a bug, and a bug report needs the plain traceback.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Same as `version`."),
    ] = False,
) -> None:
    """Options before the command."""


app.command()(status.status)
app.add_typer(rollout.app)
app.command()(history.history)
app.command()(predict.predict)
app.add_typer(drift.app)
app.add_typer(weights.app)
app.add_typer(store.app)
app.add_typer(captures.app)
app.command()(captures.capture)


@app.command()
def version() -> None:
    """Show the version of this program and of the API that it uses."""
    typer.echo(f"modelyard {installed_version('modelyard')} ({API_VERSION})")


def main() -> None:
    """Run the command line; an error that the user can act on is one line, without a traceback."""
    try:
        app(prog_name=program(sys.argv[0]))
    except CliError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) has closed the pipe: discard what is still buffered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
