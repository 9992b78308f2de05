"""Producers under observation: what the journal has of them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from producer_sdk import Request
from producer_sdk.wire import CompletionReply, Status
from stack.records import json_lines
from tests.faults.load import Ear, Load, body_of

ANSWER = b'{"id":"chatcmpl-0123456789abcdef01234567-3","choices":[]}'
REPLY = CompletionReply(submission_id="s", job_id="j", status=Status.COMPLETED, body=ANSWER)


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    made = Load({}, tmp_path / "journal")
    with made.journal:
        yield made


def told(journal: Path) -> list[dict[str, Any]]:
    return list(json_lines(journal))


def test_every_reply_that_comes_is_told_also_the_second_of_a_run(
    load: Load, tmp_path: Path
) -> None:
    ear = Ear("app", load)
    other = REPLY.model_copy(update={"body": b"another"})
    assert all(ear.put(reply) for reply in (REPLY, REPLY, other))
    first, second, third = told(tmp_path / "journal")
    assert first == second
    assert (first["tenant"], first["submission"], first["run"]) == ("app", "s", 1)
    assert first["sha256"] != third["sha256"]
    assert load.heard == 1


def test_an_answer_tells_for_which_request_it_was_made_and_an_error_does_not(
    load: Load, tmp_path: Path
) -> None:
    load.hear("app", REPLY)
    load.hear("app", REPLY.model_copy(update={"status": Status.CANCELLED}))
    assert [line["answers"] for line in told(tmp_path / "journal")] == [
        "0123456789abcdef01234567",
        None,
    ]


def test_a_submission_that_heard_before_its_confirm_waits_for_nothing(load: Load) -> None:
    load.hear("app", REPLY)
    load.stored("s")
    load.stored("t")
    assert (load.confirmed, load.unheard) == (2, 1)


@pytest.mark.parametrize("ahead", [1, 3])
async def test_no_more_than_so_many_are_unheard_at_a_time(
    load: Load, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    most = 0

    async def submit(_: str, request: Request) -> None:
        nonlocal most
        submission = str(request.idempotency_key)
        await asyncio.sleep(0)
        load.stored(submission)
        most = max(most, load.unheard)
        asyncio.get_running_loop().call_soon(
            load.hear, "app", REPLY.model_copy(update={"submission_id": submission})
        )

    monkeypatch.setattr(load, "submit", submit)
    requests = (
        Request(tier="standard", body=body_of("x"), idempotency_key=str(n)) for n in range(20)
    )
    await load.flow((("app", each) for each in requests), ahead=ahead)
    assert await load.all_heard(1)
    assert load.heard == 20
    assert most == ahead


async def test_what_does_not_hear_in_time_is_said(load: Load) -> None:
    load.stored("s")
    assert not await load.all_heard(0.01)
