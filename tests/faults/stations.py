"""Steps of a call that the line has no event for: a response's headers, and its body's first bytes."""

from collections.abc import AsyncIterator, Callable

import httpx

from tests.faults.mutants.plant import plant
from worker.core.model import Outcome
from worker.upstream import body
from worker.upstream.endpoint import Endpoint

HEADERS = "headers"
BODY = "body"


def announce(reached: Callable[[str], None]) -> None:
    """Tell `reached` when a response's headers are there, and when the first bytes of its body are."""
    judge, chunks = Endpoint._judge, body._chunks

    async def judge_and_tell(self: Endpoint, path: str, response: httpx.Response) -> Outcome:
        reached(HEADERS)
        return await judge(self, path, response)

    async def chunks_and_tell(response: httpx.Response) -> AsyncIterator[bytes]:
        async for chunk in chunks(response):
            reached(BODY)
            yield chunk

    plant(Endpoint, "_judge", judge_and_tell)
    plant(body, "_chunks", chunks_and_tell)
