"""Steps of a call that the line has no event for: a response's headers, and its body's first bytes."""

from collections.abc import Callable

from tests.faults.mutants.plant import plant
from worker.core.model import Outcome
from worker.upstream.endpoint import Endpoint
from worker.upstream.transport import PyqwestAnswer
from worker.upstream.wire import Answer, Piece

HEADERS = "headers"
BODY = "body"


def announce(reached: Callable[[str], None]) -> None:
    """Tell `reached` when a response's headers are there, and when the first bytes of its body are."""
    judge, take = Endpoint._judge, PyqwestAnswer.piece

    async def judge_and_tell(self: Endpoint, path: str, answer: Answer) -> Outcome:
        reached(HEADERS)
        return await judge(self, path, answer)

    async def take_and_tell(self: PyqwestAnswer) -> Piece | None:
        piece = await take(self)
        if piece is not None:
            reached(BODY)
        return piece

    plant(Endpoint, "_judge", judge_and_tell)
    plant(PyqwestAnswer, "piece", take_and_tell)
