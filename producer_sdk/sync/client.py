"""The synchronous clients' interface, made of the asynchronous one's, and the real client."""

import os
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from producer_sdk.client import CompletionClient as AsyncCompletionClient
from producer_sdk.completions import Completions as AsyncCompletions
from producer_sdk.sync.background import fork_safe_moment
from producer_sdk.sync.forwarding import Front, iterates, like, runs, waits
from producer_sdk.sync.job import with_job, with_jobs
from producer_sdk.sync.session import Session


class Completions(Front):
    """Submits requests for LLM completions and gives their replies, to any number of threads.

    It opens itself at its first use, and closes itself at the interpreter's exit if nobody did. An opening that
    failed is tried again by the next use. A child forked from this process gets an own client behind this one at
    its first use there.
    """

    def __init__(self, make: Callable[[bool], AsyncCompletions]) -> None:
        """Take what makes the asynchronous client; it is told whether that is for a forked child."""
        self._make = make
        self._session = Session(lambda: make(False))  # noqa: FBT003 - its one argument

    complete = waits(AsyncCompletions.complete)
    submit = with_job(waits(AsyncCompletions.submit))
    submit_request = with_job(waits(AsyncCompletions.submit_request))
    submit_many = with_jobs(iterates(AsyncCompletions.submit_many))
    batch = iterates(AsyncCompletions.batch)
    job = with_job(runs(AsyncCompletions.job))
    result = waits(AsyncCompletions.result)
    cancel = waits(AsyncCompletions.cancel)

    @property
    def tenant(self) -> str:
        """On whose behalf; the connection's user name."""
        return self._here().client.tenant

    @property
    def name(self) -> str:
        """The client's name in this process, which its reply queue carries."""
        return self._here().client.name

    def open(self) -> None:
        """Connect now rather than at the first use; it is no error if that has happened.

        Raises:
            BrokerUnavailable, InvalidSetting: as the asynchronous client.
        """
        self._here().open()

    def close(self) -> None:
        """Take no more, wait for the publishes in flight, then disconnect; closing twice does nothing.

        Whoever waits for a reply hears `ClientClosed`. The jobs go on.
        """
        self._here().close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _here(self) -> Session:
        """Give this process's session; a fork leaves the parent's behind, unless it was closed before."""
        session = self._session
        if session.pid == os.getpid() or session.background.ended:
            return session
        with fork_safe_moment:
            if self._session.pid != os.getpid():
                self._session = Session(lambda: self._make(True))  # noqa: FBT003 - its one argument
            return self._session

    def _reach(self) -> tuple[Session, Callable[[AsyncCompletions], AsyncCompletions]]:
        return self._here(), lambda client: client


class CompletionClient(Completions):
    """The asynchronous `producer_sdk.CompletionClient` for code without an event loop; it takes the same settings.

    Make one per process, as a module's global, and share it among all threads. A `name` belongs to the process that
    made the client: in a forked child the client goes by a fresh name, as one without a name does, because two
    clients of one name would take each other's replies.
    """

    @like(AsyncCompletionClient)
    def __init__(self, *args: Any, **settings: Any) -> None:  # noqa: ANN401 - `like` types them
        def make(forked: bool) -> AsyncCompletionClient:  # noqa: FBT001 - its one argument
            return AsyncCompletionClient(*args, **settings | ({"name": None} if forked else {}))

        super().__init__(make)
