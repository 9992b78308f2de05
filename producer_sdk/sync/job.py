"""A submitted job, for callers without an event loop."""

from collections.abc import Callable, Generator
from contextlib import closing
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from producer_sdk.completions import Completions
from producer_sdk.job import Job as AsyncJob
from producer_sdk.sync.forwarding import Front, runs, waits
from producer_sdk.sync.session import Session

P = ParamSpec("P")
R = TypeVar("R")


class Job(Front):
    """One submission of a job, and the way to its reply, as `producer_sdk.Job`; any thread may use it.

    It belongs to the process that submitted it. In a child forked after that only `id`, `submission_id` and
    `deadline` can be read; `client.result(job.id)` asks there for what became of it.
    """

    __slots__ = ("_job", "_session")

    def __init__(self, job: AsyncJob, session: Session) -> None:
        self._job = job
        self._session = session

    def __repr__(self) -> str:
        return repr(self._job)

    reply = waits(AsyncJob.reply)
    next_reply = waits(AsyncJob.next_reply)
    cancel = waits(AsyncJob.cancel)
    forget = runs(AsyncJob.forget)

    @property
    def id(self) -> str:
        """The job's id, as the `warren` command takes it; all submissions of one key share it."""
        return self._job.id

    @property
    def done(self) -> bool:
        """Whether a reply is here, so that `reply()` need not wait."""
        return self._job.done

    @property
    def submission_id(self) -> str:
        """The submission's id, by which `client.job()` finds it again."""
        return self._job.submission_id

    @property
    def deadline(self) -> datetime | None:
        """The instant after which no answer is wanted."""
        return self._job.deadline

    def _reach(self) -> tuple[Session, Callable[[Completions], AsyncJob]]:
        return self._session, lambda _client: self._job


def with_job(
    method: Callable[Concatenate[Any, P], AsyncJob],
) -> Callable[Concatenate[Any, P], Job]:
    """Let a method give its job as one that needs no event loop."""

    @wraps(method)
    def give(self: Front, /, *args: P.args, **kwargs: P.kwargs) -> Job:
        session, _ = self._reach()
        return Job(method(self, *args, **kwargs), session)

    return give


def with_jobs(
    method: Callable[Concatenate[Any, P], Generator[AsyncJob | R, None, None]],
) -> Callable[Concatenate[Any, P], Generator[Job | R, None, None]]:
    """Let a generator give its jobs as ones that need no event loop, and all else as it is."""

    @wraps(method)
    def give(self: Front, /, *args: P.args, **kwargs: P.kwargs) -> Generator[Job | R, None, None]:
        session, _ = self._reach()
        with closing(method(self, *args, **kwargs)) as results:
            for result in results:
                yield Job(result, session) if isinstance(result, AsyncJob) else result

    return give
