"""The test double `producer_sdk.testing.FakeCompletionClient` for code that takes a synchronous client."""

from typing import Any

from producer_sdk.request import Request
from producer_sdk.sync.client import Completions
from producer_sdk.sync.forwarding import like, runs
from producer_sdk.testing import FakeCompletionClient as AsyncFakeCompletionClient
from producer_sdk.wire import CompletionRequest


class FakeCompletionClient(Completions):
    """A client whose answers are scripted; see `producer_sdk.testing`."""

    @like(AsyncFakeCompletionClient)
    def __init__(self, *answers: Any, **names: Any) -> None:  # noqa: ANN401 - `like` types them
        self._fake = AsyncFakeCompletionClient(*answers, **names)
        super().__init__(lambda _forked: self._fake)

    script = runs(AsyncFakeCompletionClient.script)
    deliver = runs(AsyncFakeCompletionClient.deliver)

    @property
    def requests(self) -> list[Request]:
        """What was submitted, in order, including what a script refused."""
        return self._fake.requests

    @property
    def submissions(self) -> list[CompletionRequest]:
        """The same as wire messages, with their submission ids."""
        return self._fake.submissions
