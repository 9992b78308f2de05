"""The auditor: holds what a schedule's journal and database say against the promises, once the dust has settled.

It believes nobody's own summary: calls are what reached the upstream, records what the ledger committed, replies what
reached a callback queue.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from producer_sdk.wire import Status
from tests.simulation.journal import Call, Submitted
from tests.simulation.process import POLICY, TRIES
from tests.simulation.upstream import OK, OVERLOADED, REFUSED, UNAUTHORIZED
from tests.simulation.workers import PRICE
from tests.simulation.world import World
from worker.core.money import dollars, whole

_TIED_CALLS = frozenset({REFUSED, UNAUTHORIZED, OVERLOADED})


class Broken(StrEnum):
    """Which promise was broken."""

    LOST = "an accepted job has no terminal record"
    TWO_RECORDS = "a run has more than one terminal record"
    LATE_CALL = "a call began after its run's outcome was recorded"
    TOO_MANY_CALLS = "a run's calls exceed the policy"
    EXTRA_CALL = "a run was paid for twice without a death or a lost lease"
    TWO_CLAIMS = "two calls of one claim overlap without a death or a lost lease"
    MISCOUNTED = "a run has more attempts than claims, or than the policy allows"
    REOPENED = "a completed job was reopened"
    UNHEARD = "a submission never heard"
    DIFFERING = "two replies of one run differ"
    STRAY = "a reply reached somebody whom it does not concern"
    NO_ANSWER = "a completed reply is no answer of the upstream's"
    STUCK = "something waits for ever"
    MISPAID = "what is counted as spent is not what the calls of the records cost"
    LEFT = "something is left behind"
    CRASHED = "a bug inside a process"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise, and the job that it is about."""

    kind: Broken
    about: str
    job_id: str | None = None

    def __str__(self) -> str:
        return f"{self.kind.name}: {self.kind.value}: {self.about}"


def audit(world: World, left: list[str]) -> list[Violation]:
    """Give every broken promise of a schedule that has come to its end."""
    return [
        *(Violation(Broken.LEFT, each) for each in (*left, *_left(world))),
        *crashes(world),
        *_records(world),
        *_calls(world),
        *_money(world),
        *_replies(world),
    ]


def crashes(world: World) -> Iterator[Violation]:
    """Give the bugs that a process or the loop met."""
    for each in (*world.journal.troubles, *world.loop.errors):
        yield Violation(Broken.CRASHED, each)


def _left(world: World) -> Iterator[str]:
    for job_id, owner in world.database.connection.execute("SELECT job_id, owner FROM claims"):
        yield f"a claim of {job_id[:6]} by {owner}"
    for name, queue in world.broker.queues.items():
        if name == "warren.quarantine" and queue.ready:
            yield f"{len(queue.ready)} messages in quarantine"
        if queue.unsettled:
            yield f"{queue.unsettled} messages of {name} unsettled"


def _records(world: World) -> Iterator[Violation]:
    journal = world.journal
    rows = world.database.connection.execute("SELECT id, state FROM jobs").fetchall()
    states = {str(job_id): state for job_id, state in rows}
    for submitted in journal.submitted.values():
        state = states.get(submitted.job_id)
        if submitted.accepted and submitted.content is not None and state in {None, "open"}:
            yield Violation(Broken.LOST, f"{submitted.id}: {state}", submitted.job_id)
    for (job_id, run), records in journal.ended.items():
        if len(records) > 1:
            yield Violation(Broken.TWO_RECORDS, f"{job_id[:6]} run {run}", job_id)
        attempts, claimed = records[-1].attempts, journal.claimed[job_id, run]
        if attempts > min(claimed, POLICY.max_attempts):
            told = f"{job_id[:6]} run {run}: {attempts} attempts, {claimed} claims"
            yield Violation(Broken.MISCOUNTED, told, job_id)
        if records[-1].calls > sum(
            call.job_id == job_id and call.run == run for call in journal.calls
        ):
            yield Violation(Broken.MISCOUNTED, f"{job_id[:6]} run {run}: calls", job_id)
    for job_id, run, was in journal.reopened:
        if was == "completed":
            yield Violation(Broken.REOPENED, f"{job_id[:6]} as run {run}", job_id)


def _calls(world: World) -> Iterator[Violation]:
    by_run: dict[tuple[str, int], list[Call]] = defaultdict(list)
    by_claim: dict[str, list[Call]] = defaultdict(list)
    for call in world.journal.calls:
        by_run[call.job_id, call.run].append(call)
        by_claim[call.claim_key].append(call)
    for (job_id, run), calls in by_run.items():
        ended = world.journal.ended.get((job_id, run))
        for call in calls:
            if ended and call.began > ended[0].step and not call.unaware:
                yield Violation(Broken.LATE_CALL, f"call {call.number} of {call.process}", job_id)
        counted = sum(call.status not in _TIED_CALLS for call in calls)
        if counted > POLICY.max_attempts * TRIES:
            yield Violation(Broken.TOO_MANY_CALLS, f"{counted} of run {run}", job_id)
        paid = [call for call in calls if call.status == OK and not call.excused]
        if len(paid) > 1:
            told = " and ".join(f"call {call.number} of {call.process}" for call in paid)
            yield Violation(Broken.EXTRA_CALL, told, job_id)
    for key, calls in by_claim.items():
        for one, two in pairwise(call for call in calls if not call.excused):
            if one.owner != two.owner and (one.settled is None or two.began < one.settled):
                told = (
                    f"{key[:12]}: call {one.number} of {one.process}, {two.number} of {two.process}"
                )
                yield Violation(Broken.TWO_CLAIMS, told, two.job_id)


def _money(world: World) -> Iterator[Violation]:
    """What a record says that its run has spent was counted with it, and no call was counted twice."""
    connection = world.database.connection
    recorded = sum(int(spent) for (spent,) in connection.execute("SELECT spent FROM jobs"))
    counted = sum(int(spent) for (spent,) in connection.execute("SELECT spent FROM pots"))
    most = len(world.journal.calls) * whole(PRICE)
    if not recorded <= counted <= most:
        told = " <= ".join(str(dollars(each)) for each in (recorded, counted, most))
        yield Violation(Broken.MISPAID, told)


def _replies(world: World) -> Iterator[Violation]:
    journal = world.journal
    answers = {call.body: call for call in journal.calls if call.body}
    bodies: dict[tuple[str, int], set[tuple[str, bytes]]] = defaultdict(set)
    heard: Counter[str] = Counter()
    for each in journal.heard:
        submitted = journal.submitted.get(each.submission)
        if submitted is None or submitted.route != each.route or submitted.job_id != each.job_id:
            yield Violation(Broken.STRAY, f"{each.submission} at {each.route}", each.job_id)
            continue
        heard[each.submission] += 1
        if each.status == Status.REFUSED:
            continue
        if each.status != Status.CANCELLED or submitted.content is not None:
            bodies[each.job_id, each.run].add((each.status, each.body))
        if each.status == Status.COMPLETED:
            yield from _answered(submitted, each.body, answers)
    for (job_id, run), seen in bodies.items():
        if len(seen) > 1:
            yield Violation(Broken.DIFFERING, f"{job_id[:6]} run {run}", job_id)
    for submitted in journal.submitted.values():
        if submitted.accepted and submitted.owed and not heard[submitted.id]:
            yield Violation(Broken.UNHEARD, submitted.id, submitted.job_id)


def _answered(submitted: Submitted, body: bytes, answers: dict[bytes, Call]) -> Iterator[Violation]:
    if body not in answers:
        yield Violation(Broken.NO_ANSWER, submitted.id, submitted.job_id)
        return
    told = json.loads(body)
    if told["tenant"] != submitted.tenant or (
        submitted.content is not None and told["content"] != submitted.content
    ):
        yield Violation(Broken.STRAY, f"{submitted.id} hears another's answer", submitted.job_id)
