"""A submitted job, as the producer that submitted it sees it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from producer_sdk import clock
from producer_sdk.errors import DeadlineExceeded, JobError, ReplyNotRequested, ReplyTimeout
from producer_sdk.given import timeout_s
from producer_sdk.reply import Reply, read
from producer_sdk.waiting import Mailboxes

# The worker's own word that a job expired may still be on its way when the deadline passes here.
DEADLINE_GRACE_S: Final = 0.5


class Job:
    """One submission of a job, and the way to its reply.

    A reply that comes is for whoever asks next, here or by `client.job(submission_id)`. A job that failed can be
    replayed by an operator: `next_reply` waits for what comes of that.
    """

    __slots__ = (
        "_cancel",
        "_expects_reply",
        "_job_id",
        "_mailbox",
        "_mailboxes",
        "deadline",
        "submission_id",
    )

    def __init__(
        self,
        *,
        submission_id: str,
        job_id: str,
        mailboxes: Mailboxes,
        cancel: Callable[[float, str], Awaitable[bool]],
        deadline: datetime | None = None,
        expects_reply: bool = True,
    ) -> None:
        self.submission_id = submission_id
        self.deadline = deadline
        self._job_id = job_id
        self._expects_reply = expects_reply
        self._mailboxes = mailboxes
        self._cancel = cancel
        self._mailbox = mailboxes.open(submission_id)

    def __repr__(self) -> str:
        return f"<Job {self.id} submission {self.submission_id}{' done' if self.done else ''}>"

    @property
    def id(self) -> str:
        """The job's id, as the `warren` command takes it; all submissions of one key share it."""
        latest = self._mailbox.latest
        return self._job_id if latest is None else latest.job_id

    @property
    def done(self) -> bool:
        """Whether a reply is here, so that `reply()` need not wait."""
        return self._mailbox.latest is not None

    async def reply(self, timeout: float | timedelta | None = None) -> Reply:  # noqa: ASYNC109 - the error must tell a timeout from a deadline
        """Give the latest known reply, or wait for the first, until the deadline or for `timeout` (seconds).

        Asked again it gives, or raises, the same again, or what came of a replay meanwhile.

        Raises:
            JobError: the job ended without an answer: `JobFailed`, `JobExpired`, `JobCancelled`,
                `SubmissionRefused`; or `DeadlineExceeded` here.
            ReplyTimeout: nothing came within `timeout`; the job goes on.
            ReplyNotRequested: it was submitted with `reply=False`.
            ClientClosed: the client was closed meanwhile.
        """
        return await self._await(after_run=0, within=timeout, deadline=self.deadline)

    async def next_reply(
        self,
        *,
        after_run: int | None = None,
        timeout: float | timedelta | None = None,  # noqa: ASYNC109 - as in reply()
    ) -> Reply:
        """Wait for the reply of a run after `after_run`, by default after the latest known: of a replay.

        A `JobError` tells its run in `error.run`. The submission's deadline has no say here: a replay sets its own.

        Raises:
            JobError, ReplyTimeout, ReplyNotRequested, ClientClosed: as `reply()`.
        """
        latest = self._mailbox.latest
        known = 0 if latest is None else latest.run
        run = known if after_run is None else after_run
        return await self._await(after_run=run, within=timeout, deadline=None)

    async def cancel(self, *, timeout: float | timedelta = 30) -> bool:  # noqa: ASYNC109 - as in reply()
        """Cancel the job, for all its submissions; tell whether it ended so: False, it had ended otherwise before.

        Waiting it is never called; running, its upstream call is closed, unless other jobs wait for the same
        answer: then it completes, and this gives False. Whoever waits for its reply hears `JobCancelled`.

        Raises:
            JobUnknown: `client.job()` made this without the job's idempotency key, and no worker knows it.
            SubmissionRefused: the worker failed on the wish; its log has the trace.
            ReplyTimeout: no worker has answered within `timeout` (seconds); the wish stays in the queue.
            BrokerUnavailable, PublishFailed, ClientClosed: as for a submission.
        """
        return await self._cancel(timeout_s(timeout), self.id)

    def forget(self) -> None:
        """Give up the claim to the reply: one that comes later is unclaimed."""
        self._mailboxes.forget(self._mailbox)

    async def _await(
        self, *, after_run: int, within: float | timedelta | None, deadline: datetime | None
    ) -> Reply:
        if not self._expects_reply:
            raise ReplyNotRequested(submission_id=self.submission_id)
        within_s = None if within is None else timeout_s(within)
        left_s = _left_s(deadline)
        limits = [limit for limit in (within_s, left_s) if limit is not None]
        try:
            async with asyncio.timeout(min(limits, default=None)):
                reply = await self._mailbox.wait(after_run=after_run)
        except TimeoutError:
            deadline_first = left_s is not None and (within_s is None or left_s <= within_s)
            if deadline is not None and deadline_first:
                raise DeadlineExceeded.at(
                    deadline, submission_id=self.submission_id, job_id=self.id
                ) from None
            raise ReplyTimeout(submission_id=self.submission_id, timeout_s=within_s or 0) from None
        self._mailboxes.read(reply)
        answer = read(reply)
        if isinstance(answer, JobError):
            raise answer
        return answer


def _left_s(deadline: datetime | None) -> float | None:
    """Give the seconds until the client gives up waiting; 0 if that is now or was before."""
    if deadline is None:
        return None
    return max(0.0, (deadline - clock.now()).total_seconds() + DEADLINE_GRACE_S)
