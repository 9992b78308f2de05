"""Random lives of jobs, processes and deliveries against a small model of the ledger's promises."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, ClassVar, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from producer_sdk.wire import Dedupe
from tests.contract.world import (
    ANSWER,
    DONE,
    EXPIRED,
    INVALID,
    LATE,
    NO_CALL,
    ONE_CALL,
    TIMEOUT,
    Fleet,
    Worker,
    make_job,
)
from worker.core.model import (
    Answered,
    Beginning,
    Completed,
    DeadLetter,
    Decided,
    Ended,
    Exhausted,
    Failed,
    Follow,
    Job,
    Joined,
    Parked,
    Record,
    Retry,
    Snooze,
    Stale,
    Started,
    State,
    Terminal,
)

T = TypeVar("T")

MOST_ATTEMPTS = 3
KEYS = ("a", "b", "c")  # a and b may share an answer, c may not
SUBMISSIONS = ("s0", "s1", "s2")


@dataclass
class Life:
    """What must be true of one job."""

    run: int = 1
    generation: int = 0
    attempts: int = 0
    carrier: str | None = None
    known: set[str] = field(default_factory=set)
    heard: set[str] = field(default_factory=set)
    records: dict[int, Record] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.run in self.records


@dataclass(eq=False)
class Call:
    """A call that some process makes; `lost`: another has taken its claim over."""

    worker: Worker
    job: Job
    lost: bool = False


class Lives(RuleBasedStateMachine):
    found: ClassVar[Callable[[], Fleet]]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.fleet = type(self).found()
        self.workers = [self.run(self.fleet.join()), self.run(self.fleet.join())]
        self.lives = {key: Life() for key in KEYS}
        self.calls: list[Call] = []
        self.told: list[tuple[Worker, Job, Ended]] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.fleet.close())
        self.runner.close()

    def job(self, key: str, submission: str, *, back: int = 0) -> Job:
        """Give a delivery of the job: a first one, or the copy `back` generations before the newest."""
        life = self.lives[key]
        dedupe = Dedupe.OFF if key == "c" else Dedupe.INFLIGHT
        job = make_job(key, submission, dedupe=dedupe)
        generation = life.generation - back
        if submission != life.carrier or generation < 0 or (life.run, generation) == (1, 0):
            return job
        return replace(job, run=life.run, generation=generation, first=False)

    def carries(self, job: Job) -> bool:
        """Tell whether the delivery is the one that carries the job's open run now."""
        life = self.lives[job.key]
        if life.carrier is None:
            return True
        newest = (job.run, job.generation) == (life.run, life.generation)
        return newest and (not job.first or job.submission.id == life.carrier)

    def claim(self, job: Job) -> Call | None:
        """Give the call that stands in the way of this job's."""
        return next(
            (c for c in self.calls if not c.lost and c.job.claim_key == job.claim_key), None
        )

    def still_calls(self, worker: Worker, key: str) -> bool:
        """Tell whether the process makes a call for the job whose claim it lost: then it joins that call.

        The ledger fences by process, so it is the line's part not to begin such a job a second time.
        """
        return any(c.lost and c.worker is worker and c.job.key == key for c in self.calls)

    # What happens

    @rule(
        who=st.integers(0, 1),
        key=st.sampled_from(KEYS),
        submission=st.sampled_from(SUBMISSIONS),
        back=st.integers(0, 2),
    )
    def deliver(self, who: int, key: str, submission: str, back: int) -> None:
        worker, job, life = self.workers[who], self.job(key, submission, back=back), self.lives[key]
        if self.still_calls(worker, key):
            return
        carries = not life.ended and self.carries(job)
        found = self.run(worker.ledger.find(job))
        begun = self.run(worker.ledger.begin(job, max_attempts=MOST_ATTEMPTS))
        assert found in (None, begun)
        self.check_told(worker, job, begun)
        if not life.ended:
            life.carrier = life.carrier or submission
            if carries or isinstance(begun, Joined):
                life.known.add(submission)
            self.check_begun(worker, job, begun, carries=carries)

    def check_begun(self, worker: Worker, job: Job, begun: Beginning, *, carries: bool) -> None:
        life, claim = self.lives[job.key], self.claim(job)
        if not carries:
            joins = job.first and job.submission.id != life.carrier
            assert isinstance(begun, Joined if joins else (Parked, Stale)), begun
        elif claim is not None:
            assert begun == Follow(leader=claim.job.id)
        elif isinstance(begun, Started):
            life.attempts += 1
            assert begun.attempt == begun.tally.attempts == life.attempts <= MOST_ATTEMPTS
            self.calls.append(Call(worker, job))
        elif isinstance(begun, Exhausted):
            assert life.attempts == begun.tally.attempts == MOST_ATTEMPTS
        else:
            assert isinstance(begun, Answered), begun
            assert job.dedupe is not Dedupe.OFF

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), outcome=st.sampled_from([ANSWER, INVALID, TIMEOUT]))
    def end_call(self, data: st.DataObject, outcome: Completed | Failed) -> None:
        call = self.take_call(data)
        settlement: Terminal = DONE
        if isinstance(outcome, Failed):
            settlement = DeadLetter(reason=outcome.kind)
        told = self.run(
            call.worker.ledger.end(call.job, outcome, settlement, work=ONE_CALL, claimed=True)
        )
        self.check_settled(call, told)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), settlement=st.sampled_from([Retry, Snooze]))
    def park_call(self, data: st.DataObject, settlement: type[Retry | Snooze]) -> None:
        call = self.take_call(data)
        life = self.lives[call.job.key]
        stood = life.ended or not self.carries(call.job)
        until = self.fleet.clock.now() + timedelta(seconds=5)
        told = self.run(
            call.worker.ledger.park(
                call.job,
                settlement(after=timedelta(seconds=5)),
                until,
                work=ONE_CALL,
                why=TIMEOUT,
                claimed=True,
            )
        )
        if isinstance(told, Parked) and not stood:
            life.generation += 1
            life.attempts -= settlement is Snooze
        else:
            self.check_settled(call, told)

    def check_settled(self, call: Call, told: Decided | Follow) -> None:
        assert not isinstance(told, Follow), "a call under its own claim ends its run"
        self.check_told(call.worker, call.job, told)
        if isinstance(told, Stale):
            other = any(c.job.key == call.job.key and not c.lost for c in self.calls)
            assert other or not self.carries(call.job), (
                "a stale delivery is acked: who has the job?"
            )

    def take_call(self, data: st.DataObject) -> Call:
        call = data.draw(st.sampled_from(self.calls))
        self.calls.remove(call)
        return call

    @rule(who=st.integers(0, 1), key=st.sampled_from(KEYS), submission=st.sampled_from(SUBMISSIONS))
    def expire(self, who: int, key: str, submission: str) -> None:
        worker, job, life = self.workers[who], self.job(key, submission), self.lives[key]
        carries, ended = self.carries(job), life.ended
        running = any(call.job.key == key and not call.lost for call in self.calls)
        told = self.run(worker.ledger.end(job, LATE, EXPIRED, work=NO_CALL, claimed=False))
        if isinstance(told, Follow):
            assert carries
            assert running, "it follows nobody"
            assert not ended
        else:
            self.check_told(worker, job, told)
        if not ended:
            life.carrier = life.carrier or submission
            life.known |= {submission} if carries or isinstance(told, Joined) else set()
            expected = (Follow if running else Ended) if carries else (Joined, Parked, Stale)
            assert isinstance(told, expected), told

    @precondition(lambda self: any(life.ended for life in self.lives.values()))
    @rule(data=st.data(), who=st.integers(0, 1))
    def replay(self, data: st.DataObject, who: int) -> None:
        key = data.draw(st.sampled_from([key for key, life in self.lives.items() if life.ended]))
        life, worker = self.lives[key], self.workers[who]
        if self.still_calls(worker, key):
            return
        dedupe = Dedupe.OFF if key == "c" else Dedupe.INFLIGHT
        job = make_job(
            key,
            life.carrier or "s0",
            dedupe=dedupe,
            run=life.run + 1,
            first=False,
            received_at=self.fleet.clock.now(),
        )
        begun = self.run(worker.ledger.begin(job, max_attempts=MOST_ATTEMPTS))
        if life.records[life.run].state is State.COMPLETED:
            self.check_told(worker, job, begun)
            assert isinstance(begun, Ended)
            return
        life.run, life.generation, life.attempts = job.run, 0, 0
        life.heard = set()
        life.known.add(job.submission.id)
        self.check_begun(worker, job, begun, carries=True)

    @precondition(lambda self: self.told)
    @rule(data=st.data(), some=st.booleans())
    def carry(self, data: st.DataObject, *, some: bool) -> None:
        worker, job, ended = data.draw(st.sampled_from(self.told))
        self.told.remove((worker, job, ended))
        if worker not in self.workers or not ended.hear:
            return
        heard = ended.hear[:1] if some else ended.hear
        self.run(worker.ledger.carried(job, heard, letter=ended.letter_due))
        life = self.lives[job.key]
        if life.run == ended.record.run == job.run:  # else they may hear again
            life.heard |= {submission.id for submission in heard}
            life.known |= life.heard

    @rule(who=st.integers(0, 1))
    def die(self, who: int) -> None:
        self.run(self.fleet.kill(self.workers[who]))
        self.calls = [call for call in self.calls if call.worker is not self.workers[who]]
        self.told = [told for told in self.told if told[0] is not self.workers[who]]
        self.workers[who] = self.run(self.fleet.join())

    @rule(who=st.integers(0, 1))
    def sleep_too_long(self, who: int) -> None:
        """Let a process miss its lease: another one, and later it again, may take its claims over."""
        self.fleet.clock.pass_by(timedelta(seconds=20))
        awake = self.workers[1 - who]
        self.run(awake.renew())
        for key in KEYS:
            job = self.job(key, self.lives[key].carrier or "s0")
            life, claim = self.lives[key], self.claim(job)
            slept = claim is not None and claim.worker is self.workers[who]
            if not slept or claim is None or life.ended or not self.carries(job):
                continue
            if self.still_calls(awake, key):
                continue
            claim.lost = True
            life.carrier = job.submission.id
            life.known.add(job.submission.id)
            begun = self.run(awake.ledger.begin(job, max_attempts=MOST_ATTEMPTS))
            self.check_begun(awake, job, begun, carries=True)
        self.run(self.workers[who].renew())

    # What must hold of everything that is told

    def check_told(self, worker: Worker, job: Job, told: Beginning | None) -> None:
        if not isinstance(told, Ended):
            return
        life = self.lives[job.key]
        run = told.record.run
        assert run == life.run
        assert life.records.setdefault(run, told.record) == told.record, "the first record wins"
        hear = {submission.id for submission in told.hear}
        assert hear >= life.known - life.heard, "a submission was forgotten"
        self.told.append((worker, job, told))


def test_no_life_of_a_job_breaks_a_promise(found: Callable[[], Fleet]) -> None:
    run_state_machine_as_test(
        type("LivesOnAdapter", (Lives,), {"found": staticmethod(found)}),
        settings=settings(
            max_examples=50,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
