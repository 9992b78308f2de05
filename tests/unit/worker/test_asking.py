from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from producer_sdk.wire import CompletionReply, Status, Verb
from tests.contract.world import ANSWER, EmbeddedFleet, asked, complete, make_job, park
from worker.asking import Asking
from worker.core.events import JobEnded, Trouble
from worker.core.model import AskAnswer, Asked
from worker.ports import Ledger


@dataclass(slots=True)
class FakeAsk:
    verb: Verb
    asked: Asked
    log: list[str] = field(default_factory=list)
    replies: list[tuple[CompletionReply, str]] = field(default_factory=list)

    async def publish_reply(self, reply: CompletionReply, route: str) -> None:
        self.log.append("reply")
        self.replies.append((reply, route))

    async def ack(self) -> None:
        self.log.append("ack")


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[EmbeddedFleet]:
    made = EmbeddedFleet(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def ledger(fleet: EmbeddedFleet) -> Ledger:
    return (await fleet.join()).ledger


async def ask(fleet: EmbeddedFleet, ledger: Ledger, verb: Verb, about: Asked) -> FakeAsk:
    delivery = FakeAsk(verb, about)
    await Asking(ledger=ledger, listener=fleet.ear, noted=lambda: delivery.log.append("noted")).own(
        delivery
    )
    return delivery


async def test_a_result_goes_to_the_asker_under_its_own_id(
    fleet: EmbeddedFleet, ledger: Ledger
) -> None:
    await complete(ledger, make_job())
    ((reply, route),) = (await ask(fleet, ledger, Verb.RESULT, asked(make_job()))).replies
    assert (reply.submission_id, route) == ("ask", "acme.asker")
    assert (reply.status, reply.body) == (Status.COMPLETED, ANSWER.body)


async def test_an_ask_is_answered_before_it_is_acknowledged(
    fleet: EmbeddedFleet, ledger: Ledger
) -> None:
    await complete(ledger, make_job())
    assert (await ask(fleet, ledger, Verb.RESULT, asked(make_job()))).log == ["reply", "ack"]


@pytest.mark.parametrize(
    ("verb", "kind", "status"),
    [
        (Verb.RESULT, "unknown_job", Status.REFUSED),
        (Verb.CANCEL, "unknown_job", Status.REFUSED),
    ],
)
async def test_a_job_that_nobody_knows_is_said_to_be_unknown(
    fleet: EmbeddedFleet, ledger: Ledger, verb: Verb, kind: str, status: Status
) -> None:
    ((reply, _),) = (await ask(fleet, ledger, verb, asked(make_job()))).replies
    assert (reply.status, reply.error().kind) == (status, kind)


async def test_a_running_job_has_not_ended_and_who_cancels_it_hears_later(
    fleet: EmbeddedFleet, ledger: Ledger
) -> None:
    await ledger.begin(make_job(), max_attempts=3)
    ((reply, _),) = (await ask(fleet, ledger, Verb.RESULT, asked(make_job()))).replies
    assert reply.error().kind == "not_ended"
    assert (await ask(fleet, ledger, Verb.CANCEL, asked(make_job()))).log == ["noted", "ack"]


async def test_a_waiting_job_is_cancelled_and_all_hear_and_it_is_marked_and_told(
    fleet: EmbeddedFleet, ledger: Ledger
) -> None:
    await ledger.begin(make_job(), max_attempts=3)
    await park(ledger, make_job())
    delivery = await ask(fleet, ledger, Verb.CANCEL, asked(make_job()))
    assert {route for _, route in delivery.replies} == {"acme.s1", "acme.asker"}
    assert {reply.status for reply, _ in delivery.replies} == {Status.CANCELLED}
    assert [type(event) for event in fleet.ear.heard] == [JobEnded]
    assert (await ask(fleet, ledger, Verb.CANCEL, asked(make_job()))).replies == []
    other = await ask(fleet, ledger, Verb.CANCEL, asked(make_job(), ask="another"))
    assert [reply.submission_id for reply, _ in other.replies] == ["another"]
    assert len(fleet.ear.heard) == 1


async def test_an_ask_that_comes_again_after_a_crash_lets_those_hear_who_have_not(
    fleet: EmbeddedFleet, ledger: Ledger
) -> None:
    await ledger.begin(make_job(), max_attempts=3)
    await park(ledger, make_job())
    await ledger.cancel(asked(make_job()))  # and its worker dies before it has told anybody
    again = await ask(fleet, ledger, Verb.CANCEL, asked(make_job()))
    assert {route for _, route in again.replies} == {"acme.s1", "acme.asker"}


async def test_a_job_that_has_not_come_yet_is_cancelled_by_its_key(
    fleet: EmbeddedFleet, ledger: Ledger
) -> None:
    ((reply, _),) = (await ask(fleet, ledger, Verb.CANCEL, asked(make_job(), by_key=True))).replies
    assert (reply.status, reply.error().kind) == (Status.CANCELLED, "cancelled")


async def test_a_bug_ends_the_ask_with_an_answer_and_not_the_worker(
    fleet: EmbeddedFleet, ledger: Ledger
) -> None:
    class Broken:
        async def result(self, asked: Asked) -> AskAnswer:
            del asked
            raise KeyError("canary")

    broken: Ledger = Broken()  # type: ignore[assignment]  # all that is asked of it
    del ledger
    delivery = await ask(fleet, broken, Verb.RESULT, asked(make_job()))
    assert delivery.log == ["reply", "ack"]
    assert delivery.replies[0][0].error().kind == "internal_error"
    (trouble,) = fleet.ear.heard
    assert isinstance(trouble, Trouble)
    assert "canary" not in repr(trouble)
