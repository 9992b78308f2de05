"""The simulator's log, read: which calls there were, and which were in flight when a process died.

A call says by whom it was made (`client`) where the worker was told to send `x-client-name`. Without names every
call counts as made by whoever died.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from worker.core.letters import Explanation

Line = Mapping[str, Any]

# By a rate limit, or by an overload that a probe has found to last: nobody has worked on it.
REFUSED = frozenset({429, 503, 529})

# A response that has arrived takes a moment to be recorded: other processes may hold the store's only writer.
_UNRECORDED_S = 3.0
# What a process sent before it died may reach a busy simulator so much later; one that lives on soon sends more.
_ON_ITS_WAY_S = 1.0
_HANDED_OVER_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One upstream call as the simulator saw it; seconds of its own clock.

    `ended` and `status` are None where the log has no end or no answer of it, `tokens` where no model worked on it.
    """

    job: str
    run: int
    generation: int
    client: str | None
    began: float
    ended: float | None = None
    status: int | None = None
    tokens: int | None = None

    @property
    def refused(self) -> bool:
        """Whether it was refused, which has a bound of its own."""
        return self.status in REFUSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """A process that died, or lost its leases while it was suspended.

    Its calls in flight between `at`, just before it was harmed, and `gone`, when it was known to be gone, may be
    repeated. `client` None: any process may have made them. `lives_on` says that it was suspended.
    """

    client: str | None
    at: float
    gone: float
    lives_on: bool = False

    @property
    def last(self) -> float:
        """When the last call is seen that it may have begun before it was harmed."""
        return self.gone + (_HANDED_OVER_S if self.lives_on else _ON_ITS_WAY_S)


def read_calls(log: Iterable[Line]) -> list[Call]:
    """Give the calls that carry a job's id, in order; those of another shape are no calls of a worker.

    A simulator that was started again begins anew with its numbers.
    """
    begun: list[Line] = []
    ends: dict[int, Line] = {}
    places: dict[int, int] = {}
    for line in log:
        if line["event"] == "start":
            if "call" in line:
                places[line["call"]] = len(begun)
            begun.append(line)
        elif line["event"] == "end" and line["call"] in places:
            ends[places[line["call"]]] = line
    found = [_call(line, ends.get(place, {})) for place, line in enumerate(begun)]
    return [call for call in found if call is not None]


def read_deaths(producer: Iterable[Line]) -> list[Death]:
    """Give the lines with `event` "death": client, at, gone; lives_on."""
    return [
        Death(
            client=line.get("client"),
            at=line["at"],
            gone=line["gone"],
            lives_on=line.get("lives_on", False),
        )
        for line in producer
        if line["event"] == "death"
    ]


def in_flight(
    calls: Iterable[Call], deaths: Iterable[Death], ledger: Mapping[str, Explanation]
) -> list[Call]:
    """Give the calls that a death cut off: begun by then, and neither ended long before nor recorded.

    An attempt is recorded as a whole, so an earlier try of one that was cut off is lost with it; the copies of another
    generation are other attempts.
    """
    known = list(calls)
    by_client: dict[str | None, list[Call]] = defaultdict(list)
    for call in known:
        by_client[call.client].append(call)
    found: dict[int, Call] = {}
    for death in deaths:
        nameless = by_client[None]
        suspects = known if death.client is None else [*by_client[death.client], *nameless]
        cut = [call for call in suspects if _cut_off(call, death, ledger.get(call.job))]
        last = {(call.job, call.run, call.generation): call.began for call in cut}
        cut += [
            call
            for call in suspects
            if call.began < last.get((call.job, call.run, call.generation), 0)
            and not _recorded(call, death, ledger.get(call.job))
        ]
        found |= {id(call): call for call in cut}
    return list(found.values())


def handed_over(call: Call, deaths: Iterable[Death]) -> bool:
    """Tell whether a suspended process had begun this call, and sent it when it woke.

    Between its last look at its claim and a call's first byte there is always an instant.
    """
    return any(
        death.lives_on
        and death.gone <= call.began <= death.last
        and (None in {death.client, call.client} or death.client == call.client)
        for death in deaths
    )


def _cut_off(call: Call, death: Death, job: Explanation | None) -> bool:
    if call.began > death.last:
        return False
    if call.ended is None:
        return True
    return call.ended >= death.at - _UNRECORDED_S and not _recorded(call, death, job)


def _recorded(call: Call, death: Death, job: Explanation | None) -> bool:
    """Tell whether an attempt of the call's run was recorded between its begin and the death."""
    return job is not None and any(
        entry.calls and entry.run == call.run and call.began <= entry.at.timestamp() <= death.at
        for entry in job.history
    )


def _call(begun: Line, end: Line) -> Call | None:
    if not begun.get("id"):
        return None
    job, run, generation, *_ = f"{begun['id']}..".split(".")
    return Call(
        job=job,
        run=int(run) if run.isdecimal() else 1,
        generation=int(generation) if generation.isdecimal() else 0,
        client=begun.get("client"),
        began=begun["at"],
        ended=end.get("at"),
        status=end.get("status"),
        tokens=end.get("tokens"),
    )
