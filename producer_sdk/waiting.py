"""Who waits for which reply: a mailbox per submission, and what nobody has read yet.

No sockets and no clock: replies are put in from one side and awaited from the other.
"""

import asyncio
import logging
from collections import OrderedDict
from typing import Final
from weakref import WeakValueDictionary

from producer_sdk.errors import ClientClosed
from producer_sdk.wire import CompletionReply

KEPT_REPLIES: Final = 10_000

_log = logging.getLogger("warren")


class Mailbox:
    """The latest reply to one submission, and who waits for it.

    A reply of the same run or an earlier one than the latest is a duplicate and changes nothing.
    """

    __slots__ = ("__weakref__", "_closed", "_waiters", "latest", "submission_id")

    def __init__(self, submission_id: str) -> None:
        self.submission_id = submission_id
        self.latest: CompletionReply | None = None
        self._waiters: list[tuple[int, asyncio.Future[CompletionReply | None]]] = []
        self._closed = False

    def put(self, reply: CompletionReply) -> bool:
        """Take a reply and wake whom it concerns; tell whether it is news."""
        if self.latest is not None and reply.run <= self.latest.run:
            return False
        self.latest = reply
        for after_run, waiter in self._waiters:
            if reply.run > after_run and not waiter.done():
                waiter.set_result(reply)
        return True

    async def wait(self, *, after_run: int = 0) -> CompletionReply:
        """Give the latest reply as soon as its run is higher than `after_run`.

        Raises:
            ClientClosed: the client was closed before such a reply came.
        """
        if self.latest is not None and self.latest.run > after_run:
            return self.latest
        reply = None if self._closed else await self._next(after_run)
        if reply is None:
            raise ClientClosed(
                f"the client was closed while submission {self.submission_id} waited for its reply. The job goes "
                "on: a client of the same name receives the reply, or submit it again with the same idempotency key"
            )
        return reply

    async def _next(self, after_run: int) -> CompletionReply | None:
        waiter: asyncio.Future[CompletionReply | None] = asyncio.get_running_loop().create_future()
        self._waiters.append((after_run, waiter))
        try:
            return await waiter
        finally:
            self._waiters.remove((after_run, waiter))

    def close(self) -> None:
        """Let all who wait, now or later, hear that no reply will come."""
        self._closed = True
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


class Mailboxes:
    """All mailboxes of a client, and the newest replies that nobody has read.

    A mailbox lives as long as somebody holds it. Every reply is kept until it is read, so that it is found by
    its submission's id even after the mailbox is gone; beyond `keep` of them the oldest is dropped.
    """

    def __init__(self, *, keep: int = KEPT_REPLIES) -> None:
        self._open: WeakValueDictionary[str, Mailbox] = WeakValueDictionary()
        self._unread: OrderedDict[str, CompletionReply] = OrderedDict()
        self._read_runs: OrderedDict[str, int] = OrderedDict()
        self._keep = keep
        self._closed = False

    def open(self, submission_id: str) -> Mailbox:
        """Give the submission's mailbox, with the reply that is kept for it, if any."""
        mailbox = self._open.get(submission_id)
        if mailbox is None:
            mailbox = self._open[submission_id] = Mailbox(submission_id)
            if (unread := self._unread.get(submission_id)) is not None:
                mailbox.put(unread)
            if self._closed:
                mailbox.close()
        return mailbox

    def forget(self, mailbox: Mailbox) -> None:
        """Drop a mailbox now: a reply that comes later is nobody's."""
        if self._open.get(mailbox.submission_id) is mailbox:
            del self._open[mailbox.submission_id]

    def put(self, reply: CompletionReply) -> bool:
        """Hand a reply to its mailbox; tell whether it is settled so.

        A duplicate is settled by dropping it. A reply without a mailbox is not settled: `keep` it, or give it to
        whoever wants it and call `read`.
        """
        if reply.run <= self._read_runs.get(reply.submission_id, 0):
            return True
        mailbox = self._open.get(reply.submission_id)
        if mailbox is None:
            return False
        if mailbox.put(reply):
            self.keep(reply)
        return True

    def keep(self, reply: CompletionReply) -> None:
        """Keep a reply until it is read, unless one of the same or a later run is kept already."""
        unread = self._unread.get(reply.submission_id)
        if unread is not None and unread.run >= reply.run:
            return
        self._unread[reply.submission_id] = reply
        self._unread.move_to_end(reply.submission_id)
        if len(self._unread) > self._keep:
            oldest, _ = self._unread.popitem(last=False)
            if oldest not in self._open:
                _log.warning(
                    "more than %d replies unread: dropped that of submission %s", self._keep, oldest
                )

    def read(self, reply: CompletionReply) -> None:
        """Note that somebody has this reply: it is kept no longer, and its duplicates are dropped."""
        unread = self._unread.get(reply.submission_id)
        if unread is not None and unread.run <= reply.run:
            del self._unread[reply.submission_id]
        run = max(reply.run, self._read_runs.get(reply.submission_id, 0))
        self._read_runs[reply.submission_id] = run
        self._read_runs.move_to_end(reply.submission_id)
        if len(self._read_runs) > self._keep:
            self._read_runs.popitem(last=False)

    def close(self) -> None:
        """Let all who wait, now or later, hear `ClientClosed`; replies that are here can still be read."""
        self._closed = True
        for mailbox in list(self._open.values()):
            mailbox.close()
