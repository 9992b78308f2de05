"""The auditor: holds what the producers, the simulator, the ledger and the broker each logged against the promise.

It believes nobody's own summary. A job is lost when the broker confirmed it and the ledger has no terminal
record of it; a call is late when it starts after its job's outcome was recorded, unless a process that was suspended
with it in its hands sent it on waking; a call is unrecorded when the ledger has no outcome for it, and extra when no
process died, or lost its lease, with that call in flight.
"""

from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields

from stack.callbook import Call, Line, handed_over, in_flight, read_calls, read_deaths
from stack.hearings import read_hearings
from worker.core.letters import Explanation
from worker.core.model import State

_MINUTE_S = 60.0
_DEAD = "warren.dead."
# What a history entry says when a run got its terminal record.
_ENDS = frozenset(state.value for state in State if state is not State.OPEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the audit found; each field after the counts should be empty.

    `in_flight` counts the calls that were cut off by deaths: so many may be repeated. `unknown` counts the
    submissions that may or may not have been stored. `lost`, `open_jobs`, `differing`, `ended_twice` and
    `orphan_claims` are job ids; `unheard`, `strays` (heard by a submission that nobody made) and `strangers` (heard
    by another tenant, or with the answer to another request) are submission ids; `late_calls`, `unrecorded_calls`,
    `extra_calls` and `calls_over_policy` are job ids, one for each call; `stuck` are queues with messages left;
    `letters_missing` tiers with fewer dead letters in the queue than in the ledger.
    """

    accepted: int
    jobs: int
    calls: int
    replies: int
    unknown: int = 0
    in_flight: int = 0
    lost: tuple[str, ...] = ()
    open_jobs: tuple[str, ...] = ()
    unheard: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    ended_twice: tuple[str, ...] = ()
    late_calls: tuple[str, ...] = ()
    unrecorded_calls: tuple[str, ...] = ()
    extra_calls: tuple[str, ...] = ()
    calls_over_policy: tuple[str, ...] = ()
    orphan_claims: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    letters_missing: tuple[str, ...] = ()

    @property
    def faults(self) -> Mapping[str, Collection[str]]:
        """What breaks the promise, by name; a call that a death excuses does not."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        del found["unrecorded_calls"]
        return {name: value for name, value in found.items() if isinstance(value, tuple)}

    @property
    def kept(self) -> bool:
        """Whether the promise was kept, deaths considered."""
        return not any(self.faults.values())

    @property
    def clean(self) -> bool:
        """Whether the promise was kept, with no call beyond those that the ledger knows."""
        return self.kept and not self.unrecorded_calls


def audit(
    producer: Iterable[Line],
    simulator: Iterable[Line],
    ledger: Iterable[Explanation],
    *,
    queues: Mapping[str, int] | None = None,
    most_calls: int | None = None,
) -> Findings:
    """Hold the logs against each other, after the dust has settled.

    `producer` has lines with `event` "intent", "confirmed", "refused" or "unknown" (submission, job, wants_reply;
    tenant and `request`, the body's SHA-256), "reply" (submission, job, run, sha256; the tenant that heard it and,
    where the answer tells, `answers`: the beginning of the SHA-256 of the request that it was made for) and "death".
    `simulator` is its call log: "start" lines with `id` (`<job id>.<run>.…`) and `at`, and "end" lines. `queues`
    tells how many messages lie in each queue, ready or unacked; all but those of dead letters should be empty. `most_calls` is attempts times tries, for a run.
    """
    known = {job.job_id: job for job in ledger}
    lines = list(producer)
    hearings = read_hearings(lines)
    calls, deaths = read_calls(simulator), read_deaths(lines)
    cut_off = in_flight(calls, deaths, known)
    unrecorded = _unrecorded(calls, known)
    return Findings(
        accepted=len(hearings.confirmed),
        jobs=len(hearings.jobs),
        calls=len(calls),
        replies=len(hearings.replies),
        unknown=len(hearings.unknown),
        in_flight=len(cut_off),
        lost=tuple(sorted(job for job in hearings.jobs if not _has_ended(known.get(job)))),
        open_jobs=tuple(sorted(job for job, it in known.items() if it.state is State.OPEN)),
        unheard=hearings.unheard,
        strays=hearings.strays,
        strangers=hearings.strangers,
        differing=hearings.differing,
        ended_twice=tuple(sorted(job for job, it in known.items() if _ended_twice(it))),
        late_calls=tuple(
            call.job
            for call in calls
            if _is_late(call, known.get(call.job)) and not handed_over(call, deaths)
        ),
        unrecorded_calls=_each(unrecorded),
        extra_calls=_each(unrecorded - Counter(call.job for call in cut_off)),
        calls_over_policy=() if most_calls is None else _over(calls, cut_off, most_calls),
        orphan_claims=tuple(sorted(job for job, it in known.items() if it.claimed_by is not None)),
        stuck=_stuck(queues or {}),
        letters_missing=() if queues is None else _letters_missing(known.values(), queues),
    )


def most_in_a_minute(instants: Iterable[float]) -> int:
    """Give the largest number of instants, in seconds, that lie in any 60 seconds."""
    most, recent = 0, deque[float]()
    for at in sorted(instants):
        recent.append(at)
        while recent[0] <= at - _MINUTE_S:
            recent.popleft()
        most = max(most, len(recent))
    return most


def _has_ended(job: Explanation | None) -> bool:
    """Tell whether any run of the job has its terminal record."""
    return job is not None and (
        job.state is not State.OPEN or any(entry.what in _ENDS for entry in job.history)
    )


def _ended_twice(job: Explanation) -> bool:
    """Tell whether a run has more than one terminal record."""
    runs = Counter(entry.run for entry in job.history if entry.what in _ENDS)
    return any(count > 1 for count in runs.values())


def _is_late(call: Call, job: Explanation | None) -> bool:
    """Tell whether the call began after the outcome of its run was recorded."""
    if job is None:
        return False
    ended = [
        entry.at.timestamp()
        for entry in job.history
        if entry.what in _ENDS and entry.run == call.run
    ]
    return bool(ended) and call.began > min(ended)


def _unrecorded(calls: Iterable[Call], known: Mapping[str, Explanation]) -> Counter[str]:
    """Count by job the calls that no history entry accounts for."""
    made = Counter(call.job for call in calls)
    recorded = {
        job_id: sum(entry.calls for entry in known[job_id].history) if job_id in known else 0
        for job_id in made
    }
    return made - Counter(recorded)


def _over(calls: Iterable[Call], cut_off: Iterable[Call], most: int) -> tuple[str, ...]:
    """Give the jobs of calls beyond what a run may make, refusals and what deaths cut off left out."""
    made = Counter((call.job, call.run) for call in calls if not call.refused)
    excused = Counter((call.job, call.run) for call in cut_off)
    over = Counter[str]()
    for (job, run), count in made.items():
        over[job] += max(0, count - most - excused[job, run])
    return _each(over)


def _stuck(queues: Mapping[str, int]) -> tuple[str, ...]:
    """Give the queues that should be empty and are not."""
    return tuple(
        f"{name}: {left}"
        for name, left in sorted(queues.items())
        if left and not name.startswith(_DEAD)
    )


def _letters_missing(jobs: Iterable[Explanation], queues: Mapping[str, int]) -> tuple[str, ...]:
    """Give the tiers that have lost dead letters. One may lie there twice: its publish may be repeated."""
    dead = Counter(job.tier for job in jobs if job.state is State.DEAD_LETTERED)
    there = Counter({tier: queues.get(f"{_DEAD}{tier}", 0) for tier in dead})
    return tuple(f"{tier}: {missing}" for tier, missing in sorted((dead - there).items()))


def _each(counts: Counter[str]) -> tuple[str, ...]:
    """Give every job as often as it was counted."""
    return tuple(sorted(counts.elements()))
