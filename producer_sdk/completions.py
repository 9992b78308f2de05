"""The producer's interface: what the real client and its test double have in common.

Everything here is written over one step, `_send`, which the two do differently.
"""

import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from pydantic import ValidationError

from producer_sdk import batch as batches
from producer_sdk import clock
from producer_sdk.batch import PATIENCE, BatchResult
from producer_sdk.errors import (
    DeadlineExceeded,
    InvalidRequest,
    JobCancelled,
    JobError,
    JobNotEnded,
    JobUnknown,
    SubmissionRefused,
    WarrenError,
)
from producer_sdk.flight import in_order
from producer_sdk.given import check_count, timeout_s
from producer_sdk.job import Job
from producer_sdk.reply import Reply
from producer_sdk.request import (
    Deadline,
    DedupeName,
    LaneName,
    PriorityName,
    Request,
    whole_body,
)
from producer_sdk.waiting import Mailboxes
from producer_sdk.wire import (
    Ask,
    CompletionRequest,
    Dedupe,
    Lane,
    Path,
    Priority,
    Verb,
    job_id,
)

_MOST_IN_FLIGHT: Final = 1_000_000


class Completions(ABC):
    """Submits requests for LLM completions and gives their replies.

    Attributes:
        tenant: on whose behalf; the connection's user name.
        name: the client's name, which its reply queue carries.
    """

    def __init__(self, *, tenant: str, name: str) -> None:
        self.tenant = tenant
        self.name = name
        self._mailboxes = Mailboxes()

    async def complete(
        self,
        /,
        *,
        tier: str,
        path: Path = "/v1/chat/completions",
        lane: Lane | LaneName = Lane.INTERACTIVE,
        priority: Priority | PriorityName = Priority.NORMAL,
        deadline: Deadline | None = None,
        idempotency_key: str | None = None,
        dedupe: Dedupe | DedupeName | None = None,
        body: bytes | Mapping[str, Any] | None = None,
        **params: object,
    ) -> Reply:
        """Submit one request and wait for its answer; `params` are the API's own (model=, messages=, …).

        Without a deadline it waits for as long as the job takes. Cancelling it gives up the wait, not the job.

        Raises:
            InvalidRequest: a rule is broken; nothing was sent.
            BrokerUnavailable, PublishFailed: the request did not get into the queue; see their texts.
            JobError: the job ended without an answer, or the deadline passed.
            ClientClosed: the client is closed.
        """
        request = Request(
            tier=tier,
            body=whole_body(body, params),
            path=path,
            lane=lane,
            priority=priority,
            deadline=deadline,
            idempotency_key=idempotency_key,
            dedupe=dedupe,
        )
        job = await self.submit_request(request)
        try:
            return await job.reply()
        finally:
            job.forget()

    async def submit(
        self,
        /,
        *,
        tier: str,
        path: Path = "/v1/chat/completions",
        lane: Lane | LaneName = Lane.INTERACTIVE,
        priority: Priority | PriorityName = Priority.NORMAL,
        deadline: Deadline | None = None,
        idempotency_key: str | None = None,
        dedupe: Dedupe | DedupeName | None = None,
        body: bytes | Mapping[str, Any] | None = None,
        reply: bool = True,
        **params: object,
    ) -> Job:
        """Submit one request and return once the broker has confirmed that it is stored.

        With `reply=False` no reply is ever sent for this submission.

        Raises:
            InvalidRequest, BrokerUnavailable, PublishFailed, DeadlineExceeded, ClientClosed: as `complete`.
        """
        request = Request(
            tier=tier,
            body=whole_body(body, params),
            path=path,
            lane=lane,
            priority=priority,
            deadline=deadline,
            idempotency_key=idempotency_key,
            dedupe=dedupe,
        )
        return await self.submit_request(request, reply=reply)

    async def submit_request(self, request: Request, *, reply: bool = True) -> Job:
        """Submit a `Request`; as `submit` in everything else."""
        if not isinstance(request, Request):
            raise InvalidRequest(
                "request: must be a Request; submit() takes its fields as keywords"
            )
        submission = request.submission(
            uuid.uuid4().hex, reply_to=self._reply_route() if reply else None, now=clock.now()
        )
        deadline = submission.deadline
        job = self._job(submission)
        if deadline is not None and deadline <= submission.submitted_at:
            raise DeadlineExceeded.at(deadline, submission_id=job.submission_id, job_id=job.id)
        try:
            await self._send(request, submission)
        except BaseException:
            job.forget()
            raise
        return job

    async def submit_many(
        self,
        requests: Iterable[Request] | AsyncIterable[Request],
        *,
        in_flight: int = 200,
        reply: bool = True,
    ) -> AsyncGenerator[Job | WarrenError, None]:
        """Submit many requests, at most `in_flight` unconfirmed at a time; yield what became of each, in order.

        A request that fails yields its error and stops no other. Requests are taken no faster than results are.
        To stop early without waiting for the garbage collector, use `contextlib.aclosing`.
        """
        check_count("in_flight", in_flight, most=_MOST_IN_FLIGHT)

        async def outcome(request: Request) -> Job | WarrenError:
            try:
                return await self.submit_request(request, reply=reply)
            except WarrenError as error:
                return error

        async with aclosing(in_order(requests, outcome, at_most=in_flight)) as outcomes:
            async for job_or_error in outcomes:
                yield job_or_error

    async def batch(
        self,
        requests: Iterable[Request] | AsyncIterable[Request],
        *,
        in_flight: int = 200,
        patience: timedelta = PATIENCE,
    ) -> AsyncGenerator[BatchResult, None]:
        """Submit many requests and wait for their replies; yield each result as it arrives, in no order.

        At most `in_flight` jobs are submitted and unanswered, or answered and not taken from here yet, so any
        number of requests takes bounded memory. A request that fails yields its error and stops no other.

        A request that cannot be published because the broker is away or its queue is full is submitted again, for
        as long as `patience`, with the same idempotency key: so it is one job, and a key of its own is made for a
        request that has none. Only your own keys let a batch that died go on without paying twice: submit the same
        requests again. A deadline given as a duration counts from the first submission.

        Ending it early (use `contextlib.aclosing`) gives up the waits, not the jobs.

        Raises:
            InvalidSetting: `in_flight` is not between 1 and 10,000.
        """
        found = batches.run(requests, self.submit_request, in_flight=in_flight, patience=patience)
        async with aclosing(found) as results:
            async for result in results:
                yield result

    def job(self, submission_id: str, *, idempotency_key: str | None = None) -> Job:
        """Find an earlier submission again, by its id: to await its reply, also after a restart of this name.

        A kept reply is found once: reading it is taking it. `Job.id` is right once a reply is here; before that
        only if the key it was submitted with is given too.
        """
        return self._made(submission_id, idempotency_key)

    async def result(self, job: str, *, timeout: float | timedelta = 30) -> Reply:  # noqa: ASYNC109 - it bounds the answer, not the task
        """Give what became of a job of this tenant, by its id, from what the workers keep.

        For when the reply route is gone: another process, another client name, an expired callback queue. It is
        kept for the workers' `store.result_ttl`.

        Raises:
            JobError: how the job ended without an answer; `JobNotEnded`, `JobUnknown`, `ResultExpired`.
            InvalidRequest: `job` is no job's id.
            ReplyTimeout: no worker has answered within `timeout` (seconds).
            BrokerUnavailable, PublishFailed, ClientClosed: as for a submission.
        """
        return await self._asked(Verb.RESULT, timeout_s(timeout), job_id=job)

    async def cancel(self, job: str, *, timeout: float | timedelta = 30) -> bool:  # noqa: ASYNC109 - see result()
        """Cancel a job of this tenant by its id; as `Job.cancel`, which also reaches jobs that no worker knows yet.

        Raises:
            JobUnknown: no worker has received such a job.
            InvalidRequest, ReplyTimeout, BrokerUnavailable, PublishFailed, ClientClosed: as `result`.
        """
        return await self._cancelled(timeout_s(timeout), job_id=job)

    @abstractmethod
    async def open(self) -> None:
        """Get ready; `async with` does it."""

    @abstractmethod
    async def close(self) -> None:
        """Wait for the publishes in flight, then stop; whoever waits for a reply hears `ClientClosed`."""

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @abstractmethod
    def _reply_route(self) -> str:
        """Give the route on which this client hears replies."""

    @abstractmethod
    async def _send(self, request: Request, submission: CompletionRequest) -> None:
        """Get one submission stored, or raise."""

    @abstractmethod
    async def _send_ask(self, ask: Ask) -> None:
        """Get one ask stored, or raise."""

    async def _cancelled(
        self, within_s: float, *, job_id: str | None = None, key: str | None = None
    ) -> bool:
        try:
            await self._asked(Verb.CANCEL, within_s, job_id=job_id, key=key)
        except JobCancelled:
            return True
        except (JobUnknown, JobNotEnded, SubmissionRefused):
            raise
        except JobError:
            return False
        return False

    async def _cancel_job(self, key: str | None, within_s: float, job_id: str) -> bool:
        """Cancel a job by its key; by its id where the key is not known: a wrong key would be another job's."""
        if key is None:
            return await self._cancelled(within_s, job_id=job_id)
        return await self._cancelled(within_s, key=key)

    async def _asked(
        self, verb: Verb, within_s: float, *, job_id: str | None = None, key: str | None = None
    ) -> Reply:
        """Ask and give the answer, which is a reply like any other."""
        try:
            ask = Ask(
                ask_id=uuid.uuid4().hex,
                verb=verb,
                job_id=job_id,
                idempotency_key=key,
                reply_to=self._reply_route(),
            )
        except ValidationError:
            raise InvalidRequest("job: must be a job's id, 32 hex digits") from None
        answer = self._made(ask.ask_id, None)
        try:
            await self._send_ask(ask)
            return await answer.reply(within_s)
        finally:
            answer.forget()

    def _made(
        self,
        submission_id: str,
        key: str | None,
        *,
        deadline: datetime | None = None,
        expects_reply: bool = True,
    ) -> Job:
        return Job(
            submission_id=submission_id,
            job_id=job_id(self.tenant, key or submission_id),
            mailboxes=self._mailboxes,
            cancel=partial(self._cancel_job, key),
            deadline=deadline,
            expects_reply=expects_reply,
        )

    def _job(self, submission: CompletionRequest) -> Job:
        return self._made(
            submission.submission_id,
            submission.idempotency_key or submission.submission_id,
            deadline=submission.deadline,
            expects_reply=submission.reply_to is not None,
        )
