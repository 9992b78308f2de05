"""What the ledger's scripts answer, as the words of the core."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from producer_sdk.wire import Dedupe, Lane, Source
from worker.core.model import (
    Answered,
    AskAnswer,
    Asked,
    Beginning,
    CalledOff,
    Completed,
    Conflict,
    Decided,
    Early,
    Ended,
    Exhausted,
    Follow,
    HistoryEntry,
    Job,
    Joined,
    NotEnded,
    Outcome,
    Park,
    Parked,
    Record,
    Retry,
    Settled,
    Snooze,
    Stale,
    Started,
    State,
    Submission,
    Tally,
    UnknownJob,
)
from worker.core.money import dollars
from worker.store import outcomes
from worker.store.instants import from_us, us_span
from worker.store.redis.encoding import CANCELLED, CHECKSUM_BYTES


class Answers:
    """Reads answers. `damaged` is told of a job whose response is not what was stored; it counts as expired."""

    def __init__(self, damaged: Callable[[str], None]) -> None:
        self._damaged = damaged

    def found(self, answer: Sequence[Any], job_id: str) -> Decided | CalledOff | None:
        """Give what `find` said."""
        match answer:
            case [b"nothing"]:
                return None
            case [b"called off"]:
                return CalledOff()
            case _:
                return self.decided(answer, job_id)

    def begun(self, answer: Sequence[Any], job_id: str) -> Beginning | None:
        """Give what `begin` said; None: nothing that can be used, ask again."""
        match answer:
            case [b"started" | b"exhausted" as what, *spent]:
                tally = _tally(spent)
                started = Started(attempt=tally.attempts, tally=tally)
                return started if what == b"started" else Exhausted(tally=tally)
            case [b"answered", text, body, leader]:
                outcome = self._outcome(text, body, leader.decode())
                if isinstance(outcome, Completed):
                    outcome = replace(outcome, source=Source.SHARED)
                return None if outcome is None else Answered(outcome=outcome)
            case [b"early", until]:
                return Early(until=instant(until))
            case [b"called off"]:
                return CalledOff()
            case [b"void"]:
                return None
            case _:
                return self.settled(answer, job_id)

    def settled(
        self, answer: Sequence[Any], job_id: str, outcome: Outcome | None = None
    ) -> Decided | Follow:
        """Give what `end` said; `outcome` is the one that it has written, if it has."""
        match answer:
            case [b"follow", leader]:
                return Follow(leader=leader.decode())
            case _:
                return self.decided(answer, job_id, outcome)

    def decided(
        self, answer: Sequence[Any], job_id: str, outcome: Outcome | None = None
    ) -> Decided:
        """Give what stands; `outcome`: as in `settled`."""
        match answer:
            case [b"ended", *facts]:
                return self._ended(facts, job_id, outcome)
            case [b"parked", kind, after, until, carried]:
                span = us_span(int(after))
                settlement: Park = Retry(after=span) if kind == b"retry" else Snooze(after=span)
                return Parked(settlement=settlement, until=instant(until), carried=carried == b"1")
            case [b"joined"]:
                return Joined()
            case [b"stale"]:
                return Stale()
            case [b"conflict"]:
                return Conflict()
            case _:
                raise ValueError(f"a script of the ledger answered {answer!r:.80}")

    def to_ask(self, answer: Sequence[Any], asked: Asked) -> AskAnswer:
        """Give what `result` or `cancel` said."""
        match answer:
            case [b"settled", *facts, [b"ended", *end]]:
                ended = self._ended(end, asked.job_id, CANCELLED)
                if not ended.written:
                    ended = Ended(record=ended.record, hear=ended.hear)
                return Settled(job=_job_of_ask(facts, asked), ended=ended)
            case [b"not ended", noted]:
                return NotEnded(noted=bool(noted))
            case [b"called off"]:
                return CalledOff()
            case _:
                return UnknownJob()

    def _ended(self, facts: Sequence[Any], job_id: str, outcome: Outcome | None) -> Ended:
        state, run, text, body = facts[:4]
        submitted_at, begun_at, ended_at, letter_due, written, hear, lines = facts[11:]
        submitted = int(submitted_at)
        finished = submitted if ended_at is None else int(ended_at)
        begun = finished if begun_at is None else int(begun_at)
        record = Record(
            job_id=job_id,
            run=run,
            state=State(state.decode()),
            outcome=outcome if written else self._outcome(text, body, job_id),
            tally=_tally(facts[4:10]),
            # A producer's clock may run ahead of ours: no duration is negative.
            waited=us_span(max(0, begun - submitted)),
            upstream=us_span(facts[10]),
            total=us_span(max(0, finished - submitted)),
        )
        return Ended(
            record=record,
            hear=tuple(submission(id_, route) for id_, route in hear),
            letter_due=letter_due == b"1",
            written=bool(written),
            history=history(lines, run),
        )

    def _outcome(self, text: bytes | None, body: bytes | None, job_id: str) -> Outcome | None:
        """Give a run's outcome; None when there is none, or its response is not kept any more."""
        if text is None:
            return None
        kept = None if body is None else body[CHECKSUM_BYTES:]
        if (
            body is not None
            and hashlib.sha256(body[CHECKSUM_BYTES:]).digest() != body[:CHECKSUM_BYTES]
        ):
            self._damaged(job_id)
            kept = None
        return outcomes.read(text.decode(), kept)


def submission(id_: bytes, route: bytes) -> Submission:
    """Give a submission and its route, as `encoding.route` writes it."""
    text = route.decode()
    return Submission(id=id_.decode(), reply_to=None if text == "-" else text[1:])


def history(lines: Sequence[bytes], run: int | None = None) -> tuple[HistoryEntry, ...]:
    """Give a job's history, oldest line first; `run`: that run's alone."""
    entries = map(_line, lines)
    return tuple(entry for entry in entries if run is None or entry.run == run)


def instant(written: bytes | str) -> datetime:
    """Give an instant as the scripts keep it."""
    return from_us(int(written))


def _tally(facts: Sequence[Any]) -> Tally:
    attempts, calls, refusals, snoozes, spent, unpriced = facts
    return Tally(
        attempts=attempts,
        calls=calls,
        refusals=refusals,
        snoozes=snoozes,
        spent=dollars(int(spent)),
        unpriced=unpriced,
    )


def _job_of_ask(facts: Sequence[Any], asked: Asked) -> Job:
    tenant, key, tier, lane, path, model, content_hash = (each.decode() for each in facts[:7])
    priority, submitted_at, received_at, deadline, run, generation = facts[7:]
    return Job(
        id=asked.job_id,
        tenant=tenant,
        key=key,
        tier=tier,
        lane=Lane(lane),
        path=path,
        model=model,
        body=b"",
        content_hash=content_hash,
        dedupe=Dedupe.OFF,
        priority=int(priority),
        submission=asked.submission,
        submitted_at=instant(submitted_at),
        received_at=instant(received_at),
        deadline=instant(deadline),
        run=run,
        generation=generation,
        first=False,
    )


def _line(line: bytes) -> HistoryEntry:
    at, run, generation, what, attempt, kind, status, endpoint, calls, upstream_ms = json.loads(
        line
    )
    return HistoryEntry(
        at=from_us(int(at)),
        run=run,
        generation=generation,
        attempt=attempt,
        what=what,
        kind=kind,
        status=status,
        endpoint=endpoint,
        calls=calls,
        upstream_ms=upstream_ms,
    )
