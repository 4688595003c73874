"""Jobs in several processes, stopped cleanly by Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context


def run_in_processes(make: Callable[[int], int], numbers: list[int], workers: int) -> Generator[int, None, None]:
    """As they finish. On Ctrl-C and on an error no further patient begins, and those under way are finished."""
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    rest = iter(numbers)

    def begin(count: int) -> set[Future[int]]:
        # Not all at once: the pool hands out one job more than it has workers, which then can't be called back.
        with _ignored(signal.SIGINT):  # Ctrl-C reaches all processes of a terminal; the parent alone decides
            return {pool.submit(make, number) for number in islice(rest, count)}

    try:
        waiting = begin(workers)
        while waiting:
            ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            finished = [future.result() for future in ready]
            waiting |= begin(len(ready))
            yield from finished
    finally:
        # A second signal here would end this process but not its workers, which would then wait forever.
        with _ignored(signal.SIGINT, signal.SIGTERM):
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _ignored(*signals: signal.Signals) -> Iterator[None]:
    """Ignore signals, in the processes that are started meanwhile for good."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in signals}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
