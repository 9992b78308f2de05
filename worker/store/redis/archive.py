"""The `Archive` port over Redis: what operators read while the workers go on."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from worker.core.kinds import Kind
from worker.core.letters import Counts, Explanation, Letter, Selection
from worker.core.model import State, Tally
from worker.core.money import dollars
from worker.errors import AmbiguousJob
from worker.store import outcomes
from worker.store.redis.decoding import history, instant, submission
from worker.store.redis.direct import Direct, direct
from worker.store.redis.options import RedisOptions
from worker.store.redis.scripts import Script, read

_SHORTEST_ID: Final = 6
_EXPLAIN: Final = Script.of(read("explain"))
_DESCRIBED: Final = Script.of(read("described"))
# So many jobs in one round trip: the server does nothing else meanwhile.
_TOGETHER: Final = 50
_LOOKED_AT: Final = 5_000


class RedisArchive:
    """What operators read of the ledger; it changes nothing and blocks no worker for long.

    What is told of one job is one snapshot of it. Errors: `StoreUnavailable`.
    """

    def __init__(self, options: RedisOptions) -> None:
        self._options = options

    def letters(self, selection: Selection) -> Sequence[Letter]:
        """Give the dead letters that are selected, oldest first, all in memory with their requests."""
        with direct(self._options) as redis:
            ids = [
                job_id
                for kind, tier in _boxes(redis)
                if not selection.kinds or kind in selection.kinds
                if not selection.tiers or tier in selection.tiers
                for job_id in redis.command("ZRANGE", redis.key("letters", kind, tier), 0, -1)
                if not selection.job_ids or job_id.decode() in selection.job_ids
            ]
            found = [
                (_pairs(job), _pairs(letter), lines, job_id.decode())
                for job_id, (job, letter, lines) in _each(redis, _DESCRIBED, ids)
            ]
        found.sort(key=lambda each: (int(each[1]["at"]), int(each[0]["number"])))
        return tuple(_letter(*each) for each in found)

    def explain(self, job_id: str) -> Explanation | None:
        """Give all that is known of a job; `job_id` may be shortened to its first 6 or more digits.

        A shortened id is looked for through the whole index of jobs, in small steps.

        Raises:
            AmbiguousJob: more than one job begins with these digits, or they are too few.
        """
        if len(job_id) < _SHORTEST_ID:
            raise AmbiguousJob(f"a job id needs its first {_SHORTEST_ID} digits at least")
        with direct(self._options) as redis:
            told = tuple(_explained(redis, [job_id.encode()]))
            if not told:
                told = tuple(_explained(redis, _indexed(redis, job_id)[:2]))
        if len(told) > 1:
            raise AmbiguousJob(
                f"more than one job begins with {job_id}; give more digits of the one you mean"
            )
        return told[0] if told else None

    def jobs(self) -> Iterator[Explanation]:
        """Give all that is known of every job, in the order in which they were first seen."""
        with direct(self._options) as redis:
            ids = _indexed(redis)
            numbers = redis.commands(
                [("HGET", redis.key("job", job_id.decode()), "number") for job_id in ids]
            )
            seen = sorted(
                (int(number), job_id)
                for number, job_id in zip(numbers, ids, strict=True)
                if number is not None
            )
            yield from _explained(redis, [job_id for _, job_id in seen])

    def counts(self) -> Counts:
        """Give how many jobs are open and how many dead letters wait."""
        with direct(self._options) as redis:
            tiers = _pairs(redis.command("HGETALL", redis.key("open")))
            boxes = _boxes(redis)
            sizes = redis.commands([("ZCARD", redis.key("letters", *box)) for box in boxes])
        return Counts(
            open_jobs={tier: int(number) for tier, number in tiers.items()},
            letters={
                (tier, Kind(kind)): size
                for (kind, tier), size in zip(boxes, sizes, strict=True)
                if size
            },
        )


def _boxes(redis: Direct) -> list[tuple[str, str]]:
    """Give kind and tier of each list of dead letters."""
    names = sorted(redis.command("SMEMBERS", redis.key("letterboxes")))
    return [(kind, tier) for kind, _, tier in (name.decode().partition(":") for name in names)]


def _indexed(redis: Direct, beginning: str = "") -> list[bytes]:
    """Give the ids of all jobs that begin so."""
    found: set[bytes] = set()
    cursor: bytes | None = None
    while cursor != b"0":
        cursor, members = redis.command(
            "ZSCAN", redis.key("expiry"), cursor or 0, "COUNT", _LOOKED_AT
        )
        found.update(member for member in members[::2] if member.startswith(beginning.encode()))
    return sorted(found)


def _each(redis: Direct, script: Script, ids: Sequence[bytes]) -> Iterator[tuple[bytes, Any]]:
    """Run the script over the jobs and give what it found, part by part."""
    for start in range(0, len(ids), _TOGETHER):
        part = ids[start : start + _TOGETHER]
        for job_id, told in zip(part, redis.run(script, *part), strict=True):
            if told is not None:
                yield job_id, told


def _explained(redis: Direct, ids: Sequence[bytes]) -> Iterator[Explanation]:
    for job_id, told in _each(redis, _EXPLAIN, ids):
        yield _explanation(job_id.decode(), *told)


def _pairs(flat: Sequence[bytes]) -> dict[str, Any]:
    """Give a hash; what is not text stays bytes."""
    return {
        name.decode(): value if name == b"request" else value.decode()
        for name, value in zip(flat[::2], flat[1::2], strict=True)
    }


def _letter(
    job: dict[str, Any], letter: dict[str, Any], lines: Sequence[bytes], job_id: str
) -> Letter:
    run = int(letter["run"])
    return Letter(
        job_id=job_id,
        run=run,
        tenant=job["tenant"],
        tier=job["tier"],
        lane=job["lane"],
        path=job["path"],
        model=job["model"],
        kind=Kind(letter["kind"]),
        status=int(letter["status"]) if letter["status"] else None,
        code=letter["code"] or None,
        at=instant(letter["at"]),
        attempts=int(letter["attempts"]),
        history=history(lines, run),
        request=letter["request"],
    )


def _explanation(  # noqa: PLR0917  # what the script gives, in its order
    job_id: str,
    row: Sequence[bytes],
    outcome: bytes | None,
    owner: bytes | None,
    submissions: Sequence[bytes],
    lines: Sequence[bytes],
) -> Explanation:
    job = _pairs(row)
    # Calls that were made before money was kept have no known cost.
    unpriced = int(job.get("unpriced", 0) if "spent" in job else job.get("calls", 0))
    counts = ("attempts", "calls", "refusals", "snoozes")
    heard = sorted(zip(submissions[::2], submissions[1::2], strict=True))
    return Explanation(
        job_id=job_id,
        tenant=job["tenant"],
        tier=job["tier"],
        lane=job["lane"],
        path=job["path"],
        model=job["model"],
        state=State(job["state"]),
        run=int(job["run"]),
        generation=int(job["generation"]),
        tally=Tally(
            **{name: int(job.get(name, 0)) for name in counts},
            spent=dollars(int(job.get("spent", 0))),
            unpriced=unpriced,
        ),
        received_at=instant(job["received_at"]),
        deadline=instant(job["deadline"]),
        claimed_by=None if owner is None else owner.decode(),
        submissions=tuple((submission(id_, kept[1:]), kept[:1] == b"1") for id_, kept in heard),
        history=history(lines),
        cost=outcomes.own_cost(None if outcome is None else outcome.decode()),
    )
