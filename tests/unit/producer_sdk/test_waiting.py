import asyncio
import gc
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer_sdk.errors import ClientClosed
from producer_sdk.waiting import Mailboxes
from producer_sdk.wire import CompletionReply, Status


def reply(submission_id: str = "s1", run: int = 1, body: bytes = b"{}") -> CompletionReply:
    return CompletionReply(
        submission_id=submission_id, job_id="j1", status=Status.COMPLETED, body=body, run=run
    )


async def test_a_reply_wakes_every_waiter_of_its_submission_and_no_other() -> None:
    mailboxes = Mailboxes()
    mine, other = mailboxes.open("s1"), mailboxes.open("s2")
    waiting = [asyncio.create_task(mine.wait()) for _ in range(3)]
    stranger = asyncio.create_task(other.wait())
    await asyncio.sleep(0)
    assert mailboxes.put(reply())
    assert await asyncio.gather(*waiting) == [reply()] * 3
    assert not stranger.done()
    stranger.cancel()


async def test_a_reply_that_came_first_is_there_at_once() -> None:
    mailboxes = Mailboxes()
    mailbox = mailboxes.open("s1")
    mailboxes.put(reply())
    assert await mailbox.wait() == reply()


async def test_a_duplicate_of_a_run_changes_nothing() -> None:
    mailboxes = Mailboxes()
    mailbox = mailboxes.open("s1")
    mailboxes.put(reply(body=b"first"))
    assert mailboxes.put(reply(body=b"second"))
    assert (await mailbox.wait()).body == b"first"


async def test_a_waiter_for_a_later_run_sleeps_through_earlier_ones() -> None:
    mailboxes = Mailboxes()
    mailbox = mailboxes.open("s1")
    mailboxes.put(reply(run=1))
    waiting = asyncio.create_task(mailbox.wait(after_run=2))
    await asyncio.sleep(0)
    mailboxes.put(reply(run=2))
    await asyncio.sleep(0)
    assert not waiting.done()
    mailboxes.put(reply(run=3))
    assert (await waiting).run == 3


async def test_a_late_reply_of_an_earlier_run_does_not_replace_a_later_one() -> None:
    mailboxes = Mailboxes()
    mailbox = mailboxes.open("s1")
    mailboxes.put(reply(run=2))
    mailboxes.put(reply(run=1))
    assert (await mailbox.wait()).run == 2


def test_a_reply_without_a_mailbox_is_not_settled() -> None:
    assert not Mailboxes().put(reply())


async def test_an_unread_reply_outlives_its_mailbox() -> None:
    mailboxes = Mailboxes()
    mailbox = mailboxes.open("s1")
    mailboxes.put(reply())
    del mailbox
    gc.collect()
    assert await mailboxes.open("s1").wait() == reply()


def test_a_reply_that_was_read_is_kept_no_longer_and_its_duplicates_are_dropped() -> None:
    mailboxes = Mailboxes()
    mailbox = mailboxes.open("s1")
    mailboxes.put(reply())
    mailboxes.read(reply())
    mailboxes.forget(mailbox)
    assert mailboxes.open("s1").latest is None
    assert mailboxes.put(reply())
    assert mailboxes.open("s1").latest is None


def test_a_replay_of_a_submission_that_was_read_and_forgotten_is_news() -> None:
    mailboxes = Mailboxes()
    mailboxes.read(reply(run=1))
    assert not mailboxes.put(reply(run=2))


async def test_a_cancelled_waiter_leaves_nothing_and_the_reply_is_still_found() -> None:
    mailboxes = Mailboxes()
    mailbox = mailboxes.open("s1")
    waiting = asyncio.create_task(mailbox.wait())
    await asyncio.sleep(0)
    mailboxes.put(reply())
    waiting.cancel()  # in the same turn of the loop: the reply has woken it, but not yet reached it
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert mailbox._waiters == []
    mailboxes.forget(mailbox)
    assert await mailboxes.open("s1").wait() == reply()


def test_beyond_the_bound_the_oldest_unread_reply_is_dropped_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "warren")
    mailboxes = Mailboxes(keep=2)
    for submission_id in ("a", "b", "c"):
        mailboxes.keep(reply(submission_id))
    assert mailboxes.open("a").latest is None
    assert mailboxes.open("c").latest == reply("c")
    assert "submission a" in caplog.text


def test_beyond_the_bound_an_open_mailbox_still_has_its_reply() -> None:
    mailboxes = Mailboxes(keep=2)
    held = [mailboxes.open(str(n)) for n in range(10)]
    for n in range(10):
        mailboxes.put(reply(str(n)))
    assert all(mailbox.latest is not None for mailbox in held)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 3), st.booleans())))
def test_what_is_remembered_stays_bounded(events: list[tuple[str, int, bool]]) -> None:
    mailboxes = Mailboxes(keep=3)
    for submission_id, run, read in events:
        one = reply(submission_id, run)
        if not mailboxes.put(one):
            mailboxes.keep(one)
        if read:
            mailboxes.read(one)
    assert len(mailboxes._unread) <= 3
    assert len(mailboxes._read_runs) <= 3
    assert len(mailboxes._open) == 0


async def test_closing_wakes_the_waiting_and_refuses_later_ones() -> None:
    mailboxes = Mailboxes()
    mailbox, answered = mailboxes.open("s1"), mailboxes.open("s2")
    mailboxes.put(reply("s2"))
    waiting = asyncio.create_task(mailbox.wait())
    await asyncio.sleep(0)
    mailboxes.close()
    with pytest.raises(ClientClosed, match="s1"):
        await waiting
    with pytest.raises(ClientClosed):
        await mailboxes.open("s3").wait()
    assert await answered.wait() == reply("s2")
