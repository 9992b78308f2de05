"""The ledger's page: the jobs' rows as transactions have read and changed them.

What every job does goes this way: what is looked for is read for many jobs at once, and what was changed is written
table by table before the commit. A statement takes several microseconds and a hand-over of the interpreter's lock, so
their number is most of what a job costs here.
"""

import json
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from itertools import groupby
from operator import itemgetter
from typing import Any, ClassVar, Final

import apsw

from worker.core.model import HistoryEntry, Job, State, Submission
from worker.store.embedded import rows
from worker.store.embedded.ahead import Ahead
from worker.store.embedded.rows import HISTORY_LINES, LISTED, Answer, Claim, JobRow, Line
from worker.store.instants import to_us

# More jobs than these are called off at a time only by somebody who clears up; then each is looked for by itself.
_FEW_CALLED_OFF: Final = 32
_CLAIMS: Final = "SELECT key, owner, job_id, run, followed FROM"
_LINES: Final = (
    "SELECT job, line, at, run, generation, attempt, what, kind, status, endpoint, calls,"
    " upstream_ms FROM history"
)
_INSERT_JOB: Final = (
    "INSERT INTO jobs (number, id, tenant, key, tier, lane, path, model, content_hash, priority, state,"
    " run, generation, carrier, received_at, submitted_at, deadline, begun_at, attempts, expires_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'open', ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_BEGUN_AT, _ATTEMPTS = 16, 17  # among the values of `_INSERT_JOB`
_DELETE_CLAIM: Final = "DELETE FROM claims WHERE key = ?"
_INSERT_CLAIM: Final = (
    "INSERT INTO claims (key, owner, job_id, run, followed) VALUES (?, ?, ?, ?, ?)"
)
_INSERT_LINE: Final = (
    "INSERT INTO history (job, line, at, run, generation, attempt, what, kind, status, endpoint,"
    " calls, upstream_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_NOTE_SUBMISSION: Final = (
    "INSERT OR IGNORE INTO submissions (job, id, reply_to, heard) VALUES (?, ?, ?, 0)"
)
_HEAR: Final = (
    "INSERT INTO submissions (job, id, reply_to, heard) VALUES (?, ?, ?, 1)"
    " ON CONFLICT (job, id) DO UPDATE SET heard = 1"
)
_LEAVE_ANSWER: Final = (
    "INSERT OR REPLACE INTO answers (key, job_id, run, ended_at) VALUES (?, ?, ?, ?)"
)
_KEEP_BODY: Final = (
    "INSERT OR REPLACE INTO bodies (job, size, sha256, expires_at, body) VALUES (?, ?, ?, ?, ?)"
)


_statement: Final = itemgetter(0)


class Jobs:
    """Rows of jobs with their submissions, claims, answers and histories."""

    lasts: ClassVar = True

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self.forget()
        self._clear()

    def forget(self) -> None:
        """Read all anew when it is looked for next."""
        # None: there is none.
        self._rows: dict[str, JobRow | None] = {}
        self._by_key: dict[str, Claim | None] = {}
        self._by_job: dict[str, Claim | None] = {}
        self._answers: dict[str, Answer | None] = {}
        self._unheard: dict[int, dict[str, Submission]] = {}
        self._heard: dict[int, dict[str, bool]] = {}
        self._lines: dict[int, list[tuple[Any, ...]]] = {}
        self._called_off: frozenset[str] | None = None
        self._many_called_off = False
        self._last: int | None = None

    def look_ahead(self, wanted: Sequence[Ahead]) -> None:
        """Read what several operations will look for and is not known; before the first of them."""
        self._read_rows({each.job_id for each in wanted if each.job_id not in self._rows})
        self._read_lines(
            {
                row.number
                for each in wanted
                if each.ends
                and (row := self._rows[each.job_id]) is not None
                and row.number not in self._lines
            }
        )
        claimants = {each.job_id for each in wanted if each.ends or each.key}
        self._read_claims_of_jobs(claimants.difference(self._by_job))
        keys = {each.key for each in wanted if each.key is not None}
        self._read_claims_of_keys(keys.difference(self._by_key))
        shared = {each.key for each in wanted if each.answer and each.key is not None}
        self._read_answers(shared.difference(self._answers))
        self._read_submissions(wanted)

    def row(self, job_id: str) -> JobRow | None:
        """Give a job's row."""
        try:
            return self._rows[job_id]
        except KeyError:
            self.write()
            row = self._rows[job_id] = rows.load(self._connection, job_id)
            return row

    def insert(self, job: Job, *, expires_at: int) -> JobRow:
        """Add the row of a job that the ledger does not know, as this delivery shows it."""
        if self._last is None:
            self._last = self._connection.execute("SELECT coalesce(max(number), 0) FROM jobs").get
        number: int = self._last + 1
        self._last = number
        received_at, submitted_at = to_us(job.received_at), to_us(job.submitted_at)
        carrier = job.submission.id
        self._new[number] = [
            number,
            job.id,
            job.tenant,
            job.key,
            job.tier,
            job.lane.value,
            job.path,
            job.model,
            job.content_hash,
            job.priority,
            job.run,
            job.generation,
            carrier,
            received_at,
            submitted_at,
            to_us(job.deadline),
            None,
            0,
            expires_at,
        ]
        row = self._rows[job.id] = JobRow(
            number=number,
            id=job.id,
            content_hash=job.content_hash,
            state=State.OPEN,
            run=job.run,
            generation=job.generation,
            carrier=carrier,
            received_at=received_at,
            submitted_at=submitted_at,
        )
        self._unheard[number] = {}
        self._lines[number] = []
        return row

    def begin(self, row: JobRow, now: int) -> JobRow:
        """Count an attempt."""
        begun_at = now if row.begun_at is None else row.begun_at
        begun = row._replace(attempts=row.attempts + 1, begun_at=begun_at)
        if (new := self._new.get(row.number)) is not None:
            new[_BEGUN_AT], new[_ATTEMPTS] = begun_at, begun.attempts
            self._rows[row.id] = begun
        else:
            self.change(
                begun,
                "UPDATE jobs SET attempts = ?, begun_at = ? WHERE number = ?",
                (begun.attempts, begun_at, row.number),
            )
        return begun

    def change(self, row: JobRow | None, sql: str, values: tuple[Any, ...]) -> None:
        """Change a job's row by a statement, after which it is `row`; None: as it was, for all that is read of it."""
        self._changes.append((sql, values))
        if row is not None:
            self._rows[row.id] = row

    def reread(self, job_id: str) -> None:
        """Read a job's row anew when it is looked for next: a statement has changed it."""
        self._rows.pop(job_id, None)

    def let_go(self, row: JobRow, job: Job) -> None:
        """Forget a job once all is written: it was settled, so nobody will look for it soon."""
        self._settled.append((row.number, row.id, job.claim_key))

    # Submissions

    def note_submission(self, number: int, submission: Submission) -> None:
        """Note a submission that has not heard yet; one that is known stays as it is."""
        unheard = self._unheard_of(number)
        if submission.id not in unheard and not self._has_heard(number, submission.id):
            unheard[submission.id] = submission
            self._noted.append((number, submission.id, submission.reply_to))

    def to_hear(self, number: int, submission: Submission) -> tuple[Submission, ...]:
        """Give the submissions that have not heard yet, this one included unless it has heard."""
        unheard = self._unheard_of(number)
        if len(unheard) == 1 and submission.id in unheard:
            return tuple(unheard.values())
        known = [unheard[name] for name in sorted(unheard)]
        if submission.id not in unheard and not self._has_heard(number, submission.id):
            known.append(submission)
        return tuple(known)

    def hear(self, number: int, submission: Submission) -> None:
        """Note that a submission has heard."""
        self._hearing.append((number, submission.id, submission.reply_to))
        self._heard.setdefault(number, {})[submission.id] = True
        if (unheard := self._unheard.get(number)) is not None:
            unheard.pop(submission.id, None)

    # Claims

    def claim_of(self, job_id: str) -> Claim | None:
        """Give the claim that a job holds."""
        try:
            return self._by_job[job_id]
        except KeyError:
            self.write()
            found = self._connection.execute(
                f"{_CLAIMS} claims WHERE job_id = ?", (job_id,)
            ).fetchone()
            claim = None if found is None else Claim._make(found)
            self._know(claim)
            self._by_job[job_id] = claim
            return claim

    def claims_in_the_way(self, key: str, job_id: str) -> list[Claim]:
        """Give the claims of a key and of a job."""
        of_job = self.claim_of(job_id)
        try:
            of_key = self._by_key[key]
        except KeyError:
            self.write()
            found = self._connection.execute(f"{_CLAIMS} claims WHERE key = ?", (key,)).fetchone()
            of_key = None if found is None else Claim._make(found)
            self._know(of_key)
            self._by_key[key] = of_key
        if of_key is None or of_key == of_job:
            return [] if of_job is None else [of_job]
        return [of_key] if of_job is None else [of_key, of_job]

    def take(self, claim: Claim) -> None:
        """Add a claim; none may be in the way."""
        self._know(claim)
        self._taken[claim.key] = claim

    def release(self, claim: Claim) -> None:
        """Remove a claim."""
        self._by_key[claim.key] = None
        self._by_job[claim.job_id] = None
        self._taken.pop(claim.key, None)
        self._gone.append((claim.key,))

    def answer(self, key: str) -> Answer | None:
        """Give the run that ended last under a claim key."""
        try:
            return self._answers[key]
        except KeyError:
            self.write()
            self._read_answers({key})
            return self._answers[key]

    def leave_answer(self, key: str, answer: Answer) -> None:
        """Let those who follow a claim key find a run."""
        self._answers[key] = answer
        self._left[key] = (key, *answer)

    def is_called_off(self, job_id: str) -> bool:
        """Tell whether a job is to end as cancelled."""
        if self._called_off is None:
            few: list[Any] = self._connection.execute(
                "SELECT job_id FROM called_off LIMIT ?", (_FEW_CALLED_OFF + 1,)
            ).fetchall()
            self._called_off = frozenset(each for (each,) in few)
            self._many_called_off = len(few) > _FEW_CALLED_OFF
        if self._many_called_off:
            found = self._connection.execute(
                "SELECT 1 FROM called_off WHERE job_id = ?", (job_id,)
            ).fetchone()
            return found is not None
        return job_id in self._called_off

    # History and bodies

    def add_line(self, row: JobRow, line: Line, *, at: int) -> None:
        """Add a line to a job's history; of many the oldest is dropped."""
        lines = self._lines_of(row.number)
        last = lines[-1][0] if lines else 0
        added = (
            last + 1,
            at,
            row.run,
            row.generation,
            line.attempt,
            line.what,
            line.kind,
            line.status,
            line.endpoint,
            line.calls,
            line.upstream_us // 1000,
        )
        lines.append(added)
        self._written.append((row.number, *added))
        if len(lines) > HISTORY_LINES:
            del lines[:-HISTORY_LINES]
            self._changes.append(
                ("DELETE FROM history WHERE job = ? AND line < ?", (row.number, lines[0][0]))
            )

    def history(self, row: JobRow) -> tuple[HistoryEntry, ...]:
        """Give the history of a job's run, oldest line first."""
        return tuple(rows.entry(line) for line in self._lines_of(row.number) if line[2] == row.run)

    def keep_body(self, number: int, checksum: bytes, body: bytes, *, expires_at: int) -> None:
        """Keep a job's response."""
        self._bodies.append((number, len(body), checksum, expires_at, body))

    def write(self) -> None:
        """Write what was changed, each table at once."""
        # Claims that are gone first: another job may have taken the key since.
        for sql, values in (
            (_DELETE_CLAIM, self._gone),
            (_INSERT_CLAIM, self._taken.values()),
            (_INSERT_JOB, self._new.values()),
            (_INSERT_LINE, self._written),
            (_NOTE_SUBMISSION, self._noted),
            (_HEAR, self._hearing),
            (_LEAVE_ANSWER, self._left.values()),
            (_KEEP_BODY, self._bodies),
        ):
            if values:
                self._connection.executemany(sql, values)
        for sql, changed in groupby(self._changes, key=_statement):
            self._connection.executemany(sql, [values for _, values in changed])
        for number, job_id, key in self._settled:
            for of_number in (self._unheard, self._heard, self._lines):
                of_number.pop(number, None)
            for of_job in (self._rows, self._by_job):
                of_job.pop(job_id, None)
            for of_key in (self._by_key, self._answers):
                of_key.pop(key, None)
        self._clear()

    def _clear(self) -> None:
        """Begin to note what is to be written."""
        self._gone: list[tuple[str]] = []
        self._taken: dict[str, Claim] = {}
        self._new: dict[int, list[Any]] = {}
        self._written: list[tuple[Any, ...]] = []
        self._noted: list[tuple[Any, ...]] = []
        self._hearing: list[tuple[Any, ...]] = []
        self._left: dict[str, tuple[Any, ...]] = {}
        self._bodies: list[tuple[Any, ...]] = []
        self._changes: list[tuple[str, tuple[Any, ...]]] = []
        self._settled: list[tuple[int, str, str]] = []

    def _know(self, claim: Claim | None) -> None:
        if claim is not None:
            self._by_key[claim.key] = self._by_job[claim.job_id] = claim

    def _read_rows(self, job_ids: AbstractSet[str]) -> None:
        if not job_ids:
            return
        self._rows |= dict.fromkeys(job_ids)
        for row in rows.load_all(self._connection, json.dumps(list(job_ids))):
            self._rows[row.id] = row

    def _read_claims_of_jobs(self, job_ids: AbstractSet[str]) -> None:
        if not job_ids:
            return
        self._by_job |= dict.fromkeys(job_ids)
        for found in self._connection.execute(
            f"{_CLAIMS} {LISTED} claims ON job_id = listed",
            (json.dumps(list(job_ids)),),
        ):
            self._know(Claim._make(found))

    def _read_claims_of_keys(self, keys: AbstractSet[str]) -> None:
        if not keys:
            return
        self._by_key |= dict.fromkeys(keys)
        for found in self._connection.execute(
            f"{_CLAIMS} {LISTED} claims ON key = listed",
            (json.dumps(list(keys)),),
        ):
            self._know(Claim._make(found))

    def _read_answers(self, keys: AbstractSet[str]) -> None:
        if not keys:
            return
        self._answers |= dict.fromkeys(keys)
        for key, *answer in self._connection.execute(
            f"SELECT key, job_id, run, ended_at FROM {LISTED} answers ON key = listed",  # noqa: S608  # a constant
            (json.dumps(list(keys)),),
        ):
            self._answers[key] = Answer._make(answer)

    def _read_submissions(self, wanted: Sequence[Ahead]) -> None:
        pairs = list[tuple[int, str]]()
        for each in wanted:
            row = self._rows[each.job_id]
            if row is None or each.submission is None:
                continue
            unheard = self._unheard.get(row.number)
            if unheard is None or (
                each.submission not in unheard
                and each.submission not in self._heard.get(row.number, ())
            ):
                pairs.append((row.number, each.submission))
        if not pairs:
            return
        numbers = {number for number, _ in pairs}
        for number in numbers:
            self._unheard[number] = {}
        for number, submission in pairs:
            self._heard.setdefault(number, {})[submission] = False
        for number, name, reply_to, heard in self._connection.execute(
            f"SELECT job, id, reply_to, heard FROM {LISTED} submissions ON job = listed"  # noqa: S608  # a constant
            " WHERE (heard = 0 OR id IN (SELECT value FROM json_each(?2)))",
            (json.dumps(list(numbers)), json.dumps([name for _, name in pairs])),
        ):
            if heard:
                self._heard[number][name] = True
            else:
                self._unheard[number][name] = Submission(id=name, reply_to=reply_to)

    def _unheard_of(self, number: int) -> dict[str, Submission]:
        try:
            return self._unheard[number]
        except KeyError:
            self.write()
            unheard = self._unheard[number] = {
                name: Submission(id=name, reply_to=reply_to)
                for name, reply_to in self._connection.execute(
                    "SELECT id, reply_to FROM submissions WHERE job = ? AND heard = 0", (number,)
                )
            }
            return unheard

    def _has_heard(self, number: int, submission: str) -> bool:
        known = self._heard.setdefault(number, {})
        if number in self._new:
            return submission in known
        try:
            return known[submission]
        except KeyError:
            self.write()
            found = self._connection.execute(
                "SELECT heard FROM submissions WHERE job = ? AND id = ?", (number, submission)
            ).fetchone()
            heard = known[submission] = found is not None and bool(found[0])
            return heard

    def _read_lines(self, numbers: AbstractSet[int]) -> None:
        if not numbers:
            return
        for number in numbers:
            self._lines[number] = []
        for number, *line in self._connection.execute(
            f"{_LINES} WHERE job IN (SELECT value FROM json_each(?)) ORDER BY job, line",  # noqa: S608  # a constant
            (json.dumps(list(numbers)),),
        ):
            self._lines[number].append(tuple(line))

    def _lines_of(self, number: int) -> list[tuple[Any, ...]]:
        try:
            return self._lines[number]
        except KeyError:
            self.write()
            lines = self._lines[number] = [
                tuple(line)
                for _, *line in self._connection.execute(
                    f"{_LINES} WHERE job = ? ORDER BY line",
                    (number,),  # a constant
                )
            ]
            return lines
