"""The upstream: answers, fails, refuses, hangs and babbles as the schedule's mood says, and logs every call.

An answer names the tenant, the content and the number of its call, so that the auditor can tell whose it is and
that no two calls gave the same one.
"""

import asyncio
import json
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Final, cast

from tests.simulation.journal import Call
from worker.core.kinds import Kind
from worker.core.model import Completed, Failed, Job, Outcome, Usage
from worker.ports import Clock
from worker.upstream.bearing import Bearing
from worker.upstream.endpoint import Endpoint, Heard, nobody
from worker.upstream.spec import EndpointSpec
from worker.upstream.standing import Standing
from worker.upstream.wire import Request

if TYPE_CHECKING:
    from tests.simulation.process import Process

OK: Final = 200
REFUSED: Final = 429
UNAUTHORIZED: Final = 401
OVERLOADED: Final = 529
_HANGS: Final = 0
_USAGE: Final = Usage(prompt_tokens=1, completion_tokens=1)
_RECHECK: Final = timedelta(seconds=15)
# Crash points inside a call, and how much of its time passes after each.
_POINTS: Final = (("sent", 0.6), ("headers", 0.0), ("body", 0.4))
_FAILURES: Final[dict[int, Kind]] = {
    500: Kind.UPSTREAM_ERROR,
    OVERLOADED: Kind.OVERLOADED,
    400: Kind.INVALID_REQUEST,
    UNAUTHORIZED: Kind.UNAUTHORIZED,
    REFUSED: Kind.RATE_LIMITED,
    502: Kind.BAD_RESPONSE,
}


@dataclass(frozen=True, slots=True)
class Mood:
    """How often the upstream does what, as weights; `slow`: how often an answer takes longer than a lease."""

    ok: float = 1.0
    error: float = 0.0
    refused: float = 0.0
    invalid: float = 0.0
    garbage: float = 0.0
    hang: float = 0.0
    key: float = 0.0
    slow: float = 0.1

    def status(self, chance: float) -> int:
        weighed = (
            (OK, self.ok),
            (500, self.error),
            (REFUSED, self.refused),
            (400, self.invalid),
            (502, self.garbage),
            (_HANGS, self.hang),
            (UNAUTHORIZED, self.key),
        )
        left = chance * sum(weight for _, weight in weighed)
        for status, weight in weighed:
            left -= weight
            if left < 0:
                return status
        return OK


MOODS: Final = (
    Mood(),
    Mood(slow=0.4),
    Mood(error=1.0),
    Mood(refused=1.0),
    Mood(error=0.5, refused=0.5, invalid=0.2, garbage=0.2, hang=0.1, key=0.05),
    Mood(ok=0.2, error=1.0),
    Mood(invalid=1.0),
)


@cache
def _spec(name: str) -> EndpointSpec:
    # So many that hardly a job waits for them, and each counts them when it begins.
    return EndpointSpec(name=name, base_url="http://127.0.0.1/v1", requests_per_minute=6_000)


class SimulatedEndpoint(Endpoint):
    """An endpoint of one process; its calls end at the shared upstream."""

    def __init__(self, process: "Process", name: str, clock: Clock) -> None:
        # Not by `Endpoint`'s own: it reads addresses and prepares headers, which takes longer than a call here.
        self.spec = _spec(name)
        self.standing = Standing(recheck=_RECHECK, chance=lambda: 0.5)
        self.bearing = Bearing(configured=0, most=1000)
        self.serving = self.spec.serving
        self._clock = clock
        self._process = process

    def prepare(
        self,
        job: Job,
        *,
        number: int,  # noqa: ARG002  # the journal numbers them
        model: str | None = None,  # noqa: ARG002  # it serves the one
    ) -> Request | Failed:
        return cast("Request", job)

    async def call(
        self,
        request: Request,
        path: str,  # noqa: ARG002  # every answer is of one kind
        *,
        heard: Heard = nobody,  # noqa: ARG002  # nobody asks a simulated call for its headers
    ) -> Outcome:
        job, process = cast("Job", request), self._process
        world = process.world
        call = Call(
            number=len(world.journal.calls) + 1,
            job_id=job.id,
            run=job.run,
            claim_key=job.claim_key,
            tenant=job.tenant,
            content=job.content_hash,
            process=process.name,
            owner=process.owner,
            began=world.loop.steps,
            at=world.loop.time(),
            lane=job.queue_key,
        )
        call.unaware = call.excused = process.is_unaware(job.id)
        world.journal.calls.append(call)
        status = world.mood.status(world.chance.random())
        world.journal.tell(process.name, f"calls for {job.id[:6]}.{job.run}, call {call.number}")
        if status == _HANGS:
            await asyncio.get_running_loop().create_future()
        latency_s = self._latency_s()
        for point, share in _POINTS:
            process.pass_by(point)
            if share:
                await asyncio.sleep(latency_s * share)
        call.status = status  # else it was cancelled
        world.journal.tell(process.name, f"call {call.number} ends with {status}")
        return self._outcome(call)

    def _latency_s(self) -> float:
        world = self._process.world
        if world.chance.random() < world.mood.slow:
            return 3 + 18 * world.chance.random()
        return 0.01 + world.chance.expovariate(4)

    def _outcome(self, call: Call) -> Outcome:
        name = self.spec.name
        assert call.status is not None
        if call.status == OK:
            call.body = json.dumps(
                {"tenant": call.tenant, "content": call.content, "call": call.number}
            ).encode()
            return Completed(body=call.body, endpoint=name, usage=_USAGE)
        waits = (None, None, timedelta(seconds=1), timedelta(seconds=4))
        chance = self._process.world.chance.random()
        retry_after = waits[int(chance * len(waits))] if call.status in {REFUSED, 500} else None
        return Failed(
            kind=_FAILURES[call.status], status=call.status, endpoint=name, retry_after=retry_after
        )

    async def aclose(self) -> None:
        pass
