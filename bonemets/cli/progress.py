"""How far a long command has come, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

Report = Callable[[str, float], None]


@contextmanager
def progress(title: str, *, without_terminal: bool = True) -> Iterator[Report]:
    """A bar on a terminal; elsewhere a plain line at every tenth, or nothing.

    Args:
        title: what is counted.
        without_terminal: whether to print lines where there is no terminal.

    Yields:
        What to call with a few words and the share that is done, 0 to 1.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.fields[title]}"), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn(),
            TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("", total=1.0, title=title)
            yield lambda message, share: bar.update(task, description=message, completed=share)
        return
    printed = -1

    def report(message: str, share: float) -> None:
        nonlocal printed
        # Less than before is a second part that begins.
        if without_terminal and int(share * 10) != printed:
            printed = int(share * 10)
            typer.echo(f"{title}: {message}", err=True)

    yield report


def counting(report: Report) -> Callable[[int, int], None]:
    """What to call with how many are done and how many there are."""
    return lambda done, total: report(f"{done} of {total}", done / total)
