"""What can go wrong for a producer, in one tree.

    WarrenError
    ├── InvalidSetting          (ValueError)    the client's own settings; nothing was connected
    ├── InvalidRequest          (ValueError)    refused before anything was sent
    ├── ClientClosed            (RuntimeError)  the client is closed, or not open yet
    ├── WrongThread             (RuntimeError)  a synchronous client was called in its own thread
    ├── BrokerUnavailable       (ConnectionError)  no working connection; nothing was stored
    │   ├── AccessRefused       wrong credentials, virtual host or permission
    │   └── TopologyMissing     the broker lacks Warren's exchanges
    ├── PublishFailed           the broker did not take the request
    │   ├── PublishUnsent       no working connection in time; nothing was stored
    │   ├── PublishUnconfirmed  it may or may not have been stored
    │   ├── PublishRefused      the broker refuses this message
    │   ├── TierUnknown         no queue takes this tier and lane
    │   └── QueueFull           the tier's queue takes no more now
    ├── JobError                what became of a job instead of a reply
    │   ├── JobFailed           given up for good; it lies in the dead letters
    │   ├── JobCancelled        its producer or an operator cancelled it
    │   ├── BudgetExceeded      a budget left no room for the job's call
    │   ├── SubmissionRefused   the worker refused this submission
    │   ├── JobUnknown          asked for a job that no worker knows
    │   ├── JobNotEnded         asked for the result of a job that has none yet
    │   ├── ResultExpired       the job completed, and its response is not kept any more
    │   └── DeadlineExceeded    (TimeoutError)  no answer by the deadline
    │       └── JobExpired      the worker says so: it expired before it was answered
    ├── ReplyTimeout            (TimeoutError)  no reply within `timeout`; the job goes on
    ├── ReplyNotRequested       (RuntimeError)  submitted with `reply=False`
    └── UnexpectedBody          (ValueError)    the reply's body is not of the shape asked for

Every error's text says what happened, to what, and what to do next, and never holds a prompt, a completion
or a password. Attributes hold the same facts for programs. All of them can be pickled and copied.
"""

# ruff: noqa: N818 - the errors say what happened; their base says that they are errors

from datetime import datetime
from decimal import Decimal
from typing import Self


class WarrenError(Exception):
    """Anything that the producer SDK raises on purpose."""

    def __reduce__(self) -> tuple[object, ...]:
        # The subclasses take keyword arguments, which Exception's own way of pickling cannot pass.
        return _restore, (type(self), self.args), self.__dict__


def _restore(kind: type[WarrenError], args: tuple[object, ...]) -> WarrenError:
    error = kind.__new__(kind, *args)
    error.args = args  # OSError, which some are too, sets them only in its own __init__
    return error


class InvalidSetting(WarrenError, ValueError):
    """A setting of the client cannot be used."""


class InvalidRequest(WarrenError, ValueError):
    """A request breaks a rule of the contract; nothing was sent."""


class ClientClosed(WarrenError, RuntimeError):
    """The client is closed, or was not opened."""


class WrongThread(WarrenError, RuntimeError):
    """A synchronous client was called in the thread that works for it, which would wait for itself for ever."""

    def __init__(self) -> None:
        super().__init__(
            "a synchronous client was called in its own thread, which would wait for itself; in coroutines that it "
            "runs, such as an `async def on_unclaimed`, use a plain function or another client"
        )


class BrokerUnavailable(WarrenError, ConnectionError):
    """There is no working connection to the broker; what was to be sent is not stored."""


class AccessRefused(BrokerUnavailable):
    """The broker refuses the user name, the password, the virtual host or a permission."""


class TopologyMissing(BrokerUnavailable):
    """The broker lacks an exchange that Warren's definitions declare."""


class PublishFailed(WarrenError):
    """The broker did not take a request.

    Attributes:
        submission_id: the submission that failed.
    """

    def __init__(self, text: str, *, submission_id: str) -> None:
        super().__init__(text)
        self.submission_id = submission_id


class PublishUnsent(PublishFailed):
    """A request could not be sent in time; nothing was stored.

    Attributes:
        publish_timeout_s: for how long it was tried, in seconds.
        obstacle: what stood in the way at the end.
    """

    def __init__(self, *, submission_id: str, publish_timeout_s: float, obstacle: str) -> None:
        super().__init__(
            f"submission {submission_id} could not be sent within {publish_timeout_s:g} s: {obstacle}. Nothing was "
            "stored; submit it again later",
            submission_id=submission_id,
        )
        self.publish_timeout_s = publish_timeout_s
        self.obstacle = obstacle


class PublishUnconfirmed(PublishFailed):
    """A request was sent, and no confirm came in time: it may or may not have been stored.

    Attributes:
        publish_timeout_s: for how long it was tried, in seconds.
        obstacle: what stood in the way at the end.
    """

    def __init__(self, *, submission_id: str, publish_timeout_s: float, obstacle: str) -> None:
        super().__init__(
            f"submission {submission_id} was sent, but not confirmed by the broker within {publish_timeout_s:g} s: "
            f"{obstacle}. It may or may not have been stored; submitting it again with the same idempotency key is "
            "safe",
            submission_id=submission_id,
        )
        self.publish_timeout_s = publish_timeout_s
        self.obstacle = obstacle


class PublishRefused(PublishFailed):
    """The broker refuses the message itself, so repeating it is of no use."""


class TierUnknown(PublishFailed):
    """No queue takes requests of this tier and lane; nothing was stored.

    Attributes:
        tier: the tier's name.
        lane: the lane's name.
    """

    def __init__(self, *, submission_id: str, tier: str, lane: str) -> None:
        super().__init__(
            f"submission {submission_id} was returned: no queue takes tier {tier!r} in lane {lane!r}. Nothing was "
            "stored. Check the spelling, or have the tier added to the broker's definitions",
            submission_id=submission_id,
        )
        self.tier = tier
        self.lane = lane


class QueueFull(PublishFailed):
    """The broker rejected the request, as a full queue does; nothing was stored.

    Attributes:
        tier: the tier's name.
    """

    def __init__(self, *, submission_id: str, tier: str) -> None:
        super().__init__(
            f"submission {submission_id} was rejected by the broker: the queue of tier {tier!r} is full or cannot "
            "store now. Nothing was stored. Submit it again later",
            submission_id=submission_id,
        )
        self.tier = tier


class JobError(WarrenError):
    """What became of a job instead of a reply.

    Attributes:
        submission_id: the submission that asked.
        job_id: the job, as `warren` knows it; None where only the deadline is known to have passed.
        run: the job's run that ended, 1 unless it was replayed.
        attempts: counted attempts in that run.
        kind: the worker's word for the failure; None if there was none to report.
        status: the HTTP status of the upstream's last answer, if any.
        code: the upstream's own error code, if any.
        cost: what all calls of the run cost, in US dollars; None where that is not known of one of them.
    """

    def __init__(
        self,
        text: str,
        *,
        submission_id: str,
        job_id: str | None = None,
        run: int = 1,
        attempts: int = 0,
        kind: str | None = None,
        status: int | None = None,
        code: str | None = None,
        cost: Decimal | None = None,
    ) -> None:
        super().__init__(text)
        self.submission_id = submission_id
        self.cost = cost
        self.job_id = job_id
        self.run = run
        self.attempts = attempts
        self.kind = kind
        self.status = status
        self.code = code


class JobFailed(JobError):
    """The job was given up for good and lies in the dead letters, from where it can be replayed."""


class JobCancelled(JobError):
    """Its producer or an operator cancelled the job."""


class BudgetExceeded(JobError):
    """A budget left no room for the job's call, and the worker does not let jobs wait for money."""


class SubmissionRefused(JobError):
    """The worker refused this submission; the job that its key names, if any, is untouched."""


class JobUnknown(JobError):
    """No worker knows this job of yours: never received, forgotten since its records expired, or another's."""


class JobNotEnded(JobError):
    """The job has no result yet; it goes on."""


class ResultExpired(JobError):
    """The job completed, and its response is not kept any more; it is not called again."""


class DeadlineExceeded(JobError, TimeoutError):
    """No answer came by the deadline; a late answer is kept as an unclaimed reply."""

    @classmethod
    def at(cls, deadline: datetime, *, submission_id: str, job_id: str | None) -> Self:
        """Make the error of a client that waited until its deadline."""
        return cls(
            f"job {job_id} (submission {submission_id}) was not answered by its deadline, "
            f"{deadline.isoformat(timespec='milliseconds')}. Submit it again with a later deadline and the same "
            "idempotency key; a job that did complete is then not paid for twice",
            submission_id=submission_id,
            job_id=job_id,
        )


class JobExpired(DeadlineExceeded):
    """The worker found the deadline passed before the job was answered."""


class ReplyTimeout(WarrenError, TimeoutError):
    """No reply came within the `timeout` given; the job goes on and can be awaited again.

    Attributes:
        submission_id: the submission that waits.
        timeout_s: for how long it was waited, in seconds.
    """

    def __init__(self, *, submission_id: str, timeout_s: float) -> None:
        super().__init__(
            f"submission {submission_id} has no reply after {timeout_s:g} s. The job goes on: await the reply again"
        )
        self.submission_id = submission_id
        self.timeout_s = timeout_s


class ReplyNotRequested(WarrenError, RuntimeError):
    """The submission was made with `reply=False`, so none will come.

    Attributes:
        submission_id: the submission.
    """

    def __init__(self, *, submission_id: str) -> None:
        super().__init__(
            f"submission {submission_id} asked for no reply. Submit with reply=True to await one"
        )
        self.submission_id = submission_id


class UnexpectedBody(WarrenError, ValueError):
    """A reply's body is not of the shape that was asked of it; `Reply.body` still has its bytes."""
