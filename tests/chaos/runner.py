"""Runs one experiment and gives its row, whatever becomes of it: a row that failed has the error's text."""

import asyncio
import logging
import shutil
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType

from tests.chaos.display import Display
from tests.chaos.experiment import Experiment, Ground, Measured, Run
from tests.chaos.ground import SharedGround
from tests.chaos.leftovers import children, end
from tests.chaos.nodes import Nodes
from tests.chaos.result import Row

# An experiment may take so many times its share, and this on top: what it starts takes its time however small it is.
_TIMES = 3.0
_ON_TOP_S = 180.0
# How long it then has to end what it started, before it is thrown out.
_TO_LEAVE_S = 60.0


class Overdue(BaseException):
    """An experiment did not end, not even when it was cancelled; no `except Exception` of its own stops this."""


def perform(
    experiment: Experiment, nodes: Nodes, *, folder: Path, seed: int, scale: float, display: Display
) -> Row:
    """Run the experiment and give its row. Its folder stays where something has to be looked at.

    Only Ctrl-C gets out of here as an exception, after all that the experiment started has ended.
    """
    folder.mkdir(parents=True)
    ground = SharedGround(
        nodes, name=experiment.name, folder=folder, seed=seed, scale=scale, display=display
    )
    display.begin(experiment)
    began, before = time.monotonic(), children()
    measured, error = None, None
    limit_s = experiment.minutes * 60 * scale * _TIMES + _ON_TOP_S
    try:
        with _logged_to(folder / "libraries.log"):
            measured = attempt(experiment, ground, limit_s=limit_s)
    except (Exception, Overdue) as caught:  # noqa: BLE001  # an experiment's border: the others go on
        error = _text(caught)
        (folder / "traceback.txt").write_text(
            "".join(traceback.format_exception(caught)), encoding="utf-8"
        )
    finally:
        if measured is None:
            end(children() - before)
    row = Row(
        experiment=experiment,
        seconds=time.monotonic() - began,
        measured=measured,
        error=error,
        folder=folder,
    )
    if row.kept:
        shutil.rmtree(folder)
    display.end(row)
    return row


def attempt(experiment: Experiment, ground: Ground, *, limit_s: float) -> Measured:
    """Give what the experiment measured.

    Raises:
        TimeoutError: it was not done in time, and was cancelled.
        Overdue: it did not end then either.
    """
    module, _, name = experiment.run.partition(":")
    run: Run = getattr(import_module(module), name)

    async def timed() -> Measured:
        try:
            async with asyncio.timeout(limit_s) as limit:
                return await run(ground)
        except TimeoutError:
            if limit.expired():
                raise TimeoutError(f"was not done after {limit_s:.0f} s, and was ended") from None
            raise

    with _thrown_out_after(limit_s + _TO_LEAVE_S):
        return asyncio.run(timed())


@contextmanager
def _logged_to(file: Path) -> Iterator[None]:
    """Write what libraries log to a file: they have a lot to say of connections that are harmed on purpose."""
    handler = logging.FileHandler(file, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


@contextmanager
def _thrown_out_after(limit_s: float) -> Iterator[None]:
    """Raise `Overdue` in this thread at the limit, also where it never comes back to the event loop."""

    def throw(_number: int, _frame: FrameType | None) -> None:
        raise Overdue(f"did not end within {limit_s:.0f} s, not even when it was cancelled")

    handler = signal.signal(signal.SIGALRM, throw)
    began = time.monotonic()
    left_s, again_s = signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left_s:  # somebody else's alarm, such as a test's
            signal.setitimer(
                signal.ITIMER_REAL, max(0.001, left_s - (time.monotonic() - began)), again_s
            )


def _text(error: BaseException) -> str:
    """Give an error in words, of a group its first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}".strip().removesuffix(":")
