"""The auditor: holds what the producer, the simulator and the ledger each logged against the promise.

It believes nobody's own summary. A job is lost when the broker confirmed it and the ledger has no terminal
record of it; a call is late when it starts after its job's outcome was recorded; a call is unrecorded when
the ledger has no outcome for it (a process died, or lost its lease, with the call in flight).
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from worker.core.letters import Explanation
from worker.core.model import State

Line = Mapping[str, Any]

_MINUTE_S = 60.0
# What a history entry says when a run got its terminal record.
_ENDS = frozenset(state.value for state in State if state is not State.OPEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the audit found; each field but the first four should be empty.

    `lost`, `open_jobs` and `differing` are job ids; `unheard` and `strays` are submission ids; `late_calls`
    and `unrecorded_calls` are job ids, one for each call.
    """

    accepted: int
    jobs: int
    calls: int
    replies: int
    lost: tuple[str, ...] = ()
    open_jobs: tuple[str, ...] = ()
    unheard: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    late_calls: tuple[str, ...] = ()
    unrecorded_calls: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether the promise was kept, with no call beyond those that the ledger knows."""
        return not any(
            (
                self.lost,
                self.open_jobs,
                self.unheard,
                self.strays,
                self.differing,
                self.late_calls,
                self.unrecorded_calls,
            )
        )


def audit(
    producer: Iterable[Line], simulator: Iterable[Line], ledger: Iterable[Explanation]
) -> Findings:
    """Hold three logs against each other, after the dust has settled.

    `producer` has lines with `event` "confirmed" (submission, job, wants_reply) and "reply" (submission, job,
    run, sha256). `simulator` is its call log: "start" lines with `id` (`<job id>.<run>.…`) and `at`.
    """
    known = {job.job_id: job for job in ledger}
    confirmed: dict[str, Line] = {}
    replies: list[Line] = []
    for line in producer:
        if line["event"] == "confirmed":
            confirmed[line["submission"]] = line
        elif line["event"] == "reply":
            replies.append(line)
    calls = [line for line in simulator if line["event"] == "start" and line.get("id")]
    heard = {line["submission"] for line in replies}
    accepted = {line["job"] for line in confirmed.values()}
    return Findings(
        accepted=len(confirmed),
        jobs=len(accepted),
        calls=len(calls),
        replies=len(replies),
        lost=tuple(sorted(job for job in accepted if not _has_ended(known.get(job)))),
        open_jobs=tuple(sorted(job for job, it in known.items() if it.state is State.OPEN)),
        unheard=tuple(
            sorted(
                submission
                for submission, line in confirmed.items()
                if line["wants_reply"] and submission not in heard
            )
        ),
        strays=tuple(sorted(heard - confirmed.keys())),
        differing=_differing(replies),
        late_calls=tuple(job for job in map(_late, calls, [known] * len(calls)) if job),
        unrecorded_calls=_unrecorded(calls, known),
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


def _late(call: Line, known: Mapping[str, Explanation]) -> str | None:
    """Give the job's id when the call began after the outcome of its run was recorded."""
    job_id, run = str(call["id"]).split(".")[:2]
    job = known.get(job_id)
    if job is None:
        return None
    began = datetime.fromtimestamp(call["at"], UTC)
    ended = [entry.at for entry in job.history if entry.what in _ENDS and entry.run == int(run)]
    return job_id if ended and began > min(ended) else None


def _unrecorded(calls: Iterable[Line], known: Mapping[str, Explanation]) -> tuple[str, ...]:
    """Give the jobs of calls that no history entry accounts for."""
    made = Counter(str(call["id"]).split(".")[0] for call in calls)
    surplus = {
        job_id: count - sum(entry.calls for entry in known[job_id].history)
        if job_id in known
        else count
        for job_id, count in made.items()
    }
    return tuple(sorted(job for job, count in surplus.items() for _ in range(max(count, 0))))


def _differing(replies: Iterable[Line]) -> tuple[str, ...]:
    """Give the jobs of which two replies of one run had different bodies."""
    bodies: dict[tuple[str, int], set[str]] = defaultdict(set)
    for line in replies:
        bodies[line["job"], line["run"]].add(line["sha256"])
    return tuple(sorted({job for (job, _), seen in bodies.items() if len(seen) > 1}))
