"""The ``bonemets`` command: what it is called with, and how it fails."""

from __future__ import annotations

import logging
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from bonemets import __version__
from bonemets.cli.compare import compare
from bonemets.cli.datalist import datalist
from bonemets.cli.doctor import doctor
from bonemets.cli.evaluate import evaluate
from bonemets.cli.info import info
from bonemets.cli.label import label
from bonemets.cli.segment import segment
from bonemets.cli.simulate import simulate
from bonemets.cli.sweep import sweep
from bonemets.errors import InputError

# Typer brings its own copy of click since 0.26 and used the installed one before; this base class is right in both.
ClickException: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="bonemets",
    help="Find bone metastases in bone scans. Research use only, not for diagnosis.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"bonemets {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def bonemets(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = (
        False
    ),
) -> None:
    """Find bone metastases in bone scans. Research use only, not for diagnosis."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for command in (simulate, datalist, segment, evaluate, sweep, compare, info, doctor):
    app.command()(command)
app.add_typer(label, name="label")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after ``bonemets``; by default that of the process.

    Returns:
        The exit status: 0 done, 2 with one line on standard error for bad usage or bad input, 130 on Ctrl-C.
    """
    # What libraries have to say about a file or about themselves would drown the one line that helps.
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.ERROR)
    if arguments is None:
        # Python dies of SIGTERM without a word; as an exception it lets half-written results be removed.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        status = app(args=arguments, prog_name="bonemets", standalone_mode=False)
    except InputError as error:
        return _fail(str(error))
    except ClickException as error:
        return _fail(_usage(error))
    except (KeyboardInterrupt, typer.Abort):
        return 130
    return status if isinstance(status, int) else 0


def _fail(message: str) -> int:
    sys.stderr.write(f"bonemets: {' '.join(message.split())}\n")
    return 2


def _usage(error: Exception) -> str:
    """Click's message with the way to help."""
    message = getattr(error, "format_message", error.__str__)()
    context = getattr(error, "ctx", None)
    return f"{message.rstrip('.')}. See '{context.command_path if context else 'bonemets'} --help'."


if __name__ == "__main__":
    sys.exit(main())
