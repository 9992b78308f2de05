"""From lines to requests to results, until the end or a signal."""

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from producer_sdk import (
    BatchResult,
    Completions,
    InvalidRequest,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    PublishRefused,
    Reply,
    Request,
    ResultExpired,
    WarrenError,
)
from worker.cli.batches.format import Flaw, Line, read_line
from worker.cli.batches.known import Known, Standing
from worker.cli.batches.progress import Display, Tally
from worker.cli.batches.reading import numbered_lines
from worker.cli.batches.results import flaw_line, result_line
from worker.cli.batches.writing import LinesFile

_EARLY_AT_LEAST: Final = 1000

_REPEATED: Final = ("duplicate_custom_id", "custom_id: an earlier line has the same")
_CHANGED: Final = (
    "idempotency_conflict",
    "the output has a result of another request under this custom_id; use another custom_id, or another output",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run: the batch's name, a request whose body and key each line replaces, and how much at once."""

    name: str
    template: Request
    model: str | None
    in_flight: int


class EarlyReplies:
    """Replies that came for submissions of a run that was killed: its queue kept them.

    A job's second submission hears the same again, unless its response is not kept any more: then it is here. The
    newest are kept, twice as many as may be in flight, and at least a thousand.
    """

    def __init__(self, in_flight: int) -> None:
        self._room = max(_EARLY_AT_LEAST, 2 * in_flight)
        self._kept: dict[str, Reply] = {}

    async def keep(self, reply: Reply | JobError) -> None:
        """Keep an answer that nobody here waits for."""
        if isinstance(reply, Reply):
            self._kept[reply.job_id] = reply
            if len(self._kept) > self._room:
                del self._kept[next(iter(self._kept))]

    def instead_of(self, answer: Reply | WarrenError) -> Reply | WarrenError:
        """Give the kept answer of a job whose response is not kept any more, else the one given."""
        if isinstance(answer, ResultExpired) and answer.job_id is not None:
            return self._kept.pop(answer.job_id, answer)
        return answer


class Run:
    """One run of a batch. Every result is in the output before the next is taken."""

    def __init__(
        self,
        plan: Plan,
        *,
        output: LinesFile,
        errors: LinesFile,
        known: Known,
        early: EarlyReplies,
    ) -> None:
        self.tally = Tally()
        self._plan = plan
        self._output = output
        self._errors = errors
        self._known = known
        self._early = early
        self._waiting: dict[int, Line] = {}

    async def run(self, client: Completions, descriptor: int) -> None:
        """Submit every line that has no result, and write each result as it comes.

        Raises:
            WarrenError: what no line can be blamed for, such as a broker that stays away.
            OSError: a line could not be read or written.
        """
        requests = self._requests(descriptor)
        async with aclosing(client.batch(requests, in_flight=self._plan.in_flight)) as results:
            async for result in results:
                self._settle(result)

    async def watch(self, display: Display) -> None:
        """Show how far it is, and bring the results to the disk, every now and then; until cancelled."""
        while True:
            await asyncio.sleep(display.every_s)
            display.show(self.tally)
            await asyncio.to_thread(self._output.sync)

    async def _requests(self, descriptor: int) -> AsyncGenerator[Request, None]:
        index = 0
        async with aclosing(numbered_lines(descriptor)) as lines:
            async for number, data in lines:
                match read_line(number, data, model=self._plan.model):
                    case Line() as line if self._is_to_do(line):
                        self._waiting[index] = line
                        index += 1
                        yield self._request(line)
                    case Flaw() as flaw:
                        self._tell(flaw)
                    case _:
                        pass

    def _request(self, line: Line) -> Request:
        # Hashed: a custom id can be longer than a key, and is nobody else's business.
        whose = os.fsencode(self._plan.name) + b"\0" + line.custom_id.encode()
        key = hashlib.sha256(whose).hexdigest()[:40]
        return replace(
            self._plan.template, path=line.path, body=line.body, idempotency_key=f"batch-{key}"
        )

    def _is_to_do(self, line: Line) -> bool:
        match self._known.meet(line):
            case Standing.NEW:
                return True
            case Standing.ANSWERED:
                self.tally.answered_before += 1
            case Standing.FAILED:
                self.tally.failed_before += 1
            case Standing.REPEATED:
                self._tell(_flaw(line, *_REPEATED))
            case Standing.CHANGED:
                self._tell(_flaw(line, *_CHANGED))
        return False

    def _settle(self, result: BatchResult) -> None:
        """Write how a job ended; a line whose job has no end yet goes to the errors, and is tried by the next run."""
        line = self._waiting.pop(result.index)
        match self._early.instead_of(result.answer):
            case (Reply() | JobFailed() | JobExpired() | JobCancelled()) as end:
                written, success = result_line(line, end)
                self._output.append(written)
                self._count(end, success=success)
            case JobError() as error:
                self._tell(_flaw(line, error.kind or "deadline_exceeded", str(error)))
            case InvalidRequest() as error:
                self._tell(_flaw(line, "invalid_request", str(error)))
            case PublishRefused() as error:
                self._tell(_flaw(line, "publish_refused", str(error)))
            case WarrenError() as error:
                raise error

    def _count(self, end: Reply | JobError, *, success: bool) -> None:
        tally = self.tally
        tally.answered += success
        tally.failed += not success
        if isinstance(end, Reply):
            tally.cached += end.cached
            tally.unpriced += end.cost is None
            tally.cost += end.cost or 0

    def _tell(self, flaw: Flaw) -> None:
        self._errors.append(flaw_line(flaw))
        self.tally.flawed += 1


def _flaw(line: Line, code: str, message: str) -> Flaw:
    return Flaw(number=line.number, custom_id=line.custom_id, code=code, message=message)
