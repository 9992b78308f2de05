"""One run of a batch around its line of work: files opened and locked, client opened, how it ended."""

import asyncio
import hashlib
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from producer_sdk import CompletionClient
from producer_sdk import WarrenError as SdkError
from worker.cli.batches.known import Known
from worker.cli.batches.progress import Display, Tally, display
from worker.cli.batches.running import EarlyReplies, Plan, Run
from worker.cli.batches.stopping import Stopped, stopping
from worker.cli.batches.writing import LinesFile, ResultsFile
from worker.cli.output import FAILED, UNREACHABLE
from worker.clock import SystemClock

STREAM: Final = "-"

_BY_SIGNAL: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where lines come from and where results and errors go; `-` is a standard stream."""

    source: str
    output: str
    errors: str

    @classmethod
    def of(cls, source: str, output: str, errors: str | None) -> "Places":
        """Name the error file after the output unless it is given."""
        beside = STREAM if output == STREAM else str(Path(output).with_suffix(".errors.jsonl"))
        return cls(source=source, output=output, errors=errors or beside)

    @property
    def distinct(self) -> bool:
        """Whether no file is named twice."""
        files = [
            os.path.realpath(each)
            for each in (self.source, self.output, self.errors)
            if each != STREAM
        ]
        return len(files) == len(set(files))


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a run ended: its exit status, why it stopped before the end of the input (None: it did not), its counts."""

    status: int
    why: str | None
    tally: Tally
    seconds: float

    def facts(self, plan: Plan, places: Places) -> dict[str, object]:
        """Give the summary as JSON can hold it."""
        counts = asdict(self.tally)
        known = self.tally.cost or not self.tally.unpriced
        counts["cost"] = format(self.tally.cost, "f") if known else None
        return {
            "batch": plan.name,
            "complete": self.why is None,
            "stopped_by": self.why,
            "lines": self.tally.lines,
            **counts,
            "seconds": round(self.seconds, 3),
            "output": places.output,
            "errors": places.errors,
        }


def carry_out(plan: Plan, places: Places, *, url: str, total: int | None) -> End:
    """Run a batch to its end, or to what stops it.

    Raises:
        OutputRefused: the output is another run's or another kind of file.
        OSError: a file cannot be opened or read.
        InvalidSetting: the URL is none.
    """
    clock = SystemClock()
    began = clock.monotonic()
    known, early = Known(), EarlyReplies(plan.in_flight)
    client = CompletionClient(url, name=_client_name(plan, places), on_unclaimed=early.keep)
    with _source(places) as descriptor, _output(places, known) as output, _errors(places) as errors:
        run = Run(plan, output=output, errors=errors, known=known, early=early)
        status, why = _ended(run, client, descriptor, display(total=total, clock=clock))
        output.sync()
        errors.sync()
    tally = run.tally
    imperfect = tally.failed_before or tally.failed or tally.flawed
    status = status or (FAILED if imperfect else 0)
    return End(status=status, why=why, tally=tally, seconds=clock.monotonic() - began)


def _ended(
    run: Run, client: CompletionClient, descriptor: int, shown: Display
) -> tuple[int, str | None]:
    """Run, and give the exit status with what stopped it."""

    async def main() -> None:
        async with stopping(), client:
            watching = asyncio.create_task(run.watch(shown))
            try:
                await run.run(client, descriptor)
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    try:
        with shown.shown():
            asyncio.run(main())
            shown.show(run.tally)
    except Stopped as stopped:
        return _BY_SIGNAL + stopped.signal, stopped.signal.name
    except SdkError as error:
        return UNREACHABLE, str(error)
    except OSError as error:
        return FAILED, str(error)
    return 0, None


@contextmanager
def _source(places: Places) -> Iterator[int]:
    if places.source == STREAM:
        yield sys.stdin.fileno()
    else:
        with Path(places.source).open("rb", buffering=0) as file:
            yield file.fileno()


@contextmanager
def _output(places: Places, known: Known) -> Iterator[LinesFile]:
    if places.output == STREAM:
        file = LinesFile.stream(sys.stdout.fileno(), name="standard output")
    else:
        file = ResultsFile.continued(Path(places.output))
    try:
        if isinstance(file, ResultsFile):
            for done in file.results():
                known.restore(done)
        yield file
    finally:
        file.close()


@contextmanager
def _errors(places: Places) -> Iterator[LinesFile]:
    if places.errors == STREAM:
        file = LinesFile.stream(sys.stderr.fileno(), name="standard error")
    else:
        file = LinesFile.emptied(Path(places.errors))
    try:
        yield file
    finally:
        file.close()


def _client_name(plan: Plan, places: Places) -> str | None:
    """Name the callback queue: the same when this batch is run again into this output, and nobody else's.

    Two hosts with one name would take each other's replies. Into a stream no run goes on where another stopped.
    """
    if places.output == STREAM:
        return None
    whose = f"{plan.name}\0{socket.gethostname()}\0{os.path.realpath(places.output)}"
    return f"batch-{hashlib.sha256(os.fsencode(whose)).hexdigest()[:32]}"
