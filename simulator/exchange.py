"""One call: plays a reaction on a responder, with timers instead of tasks.

The responder tells the exchange how it ended, also when the exchange itself ended it, so that there
is one place from which an end can come.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from simulator.reactions import Manner, Reaction
from simulator.wire import How, Responder

CUT_AFTER_S: Final = 0.05
"""Between half a body and its reset: a TCP reset overtakes bytes that are still on their way."""

Ended = Callable[[How, int | None], None]


class Exchange:
    """Sends one reaction. `ended` is called once, with the status if the head was sent."""

    __slots__ = ("_ended", "_loop", "_reaction", "_responder", "_sent", "_status", "_timer")

    def __init__(
        self,
        *,
        reaction: Reaction,
        responder: Responder,
        loop: asyncio.AbstractEventLoop,
        ended: Ended,
    ) -> None:
        self._reaction = reaction
        self._responder = responder
        self._loop = loop
        self._ended = ended
        self._status: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sent = 0

    def begin(self) -> None:
        """Retire the connection if asked to, wait out the latency, then respond."""
        if self._reaction.retire:
            self._responder.retire()
        if self._reaction.delay_s > 0:
            self._timer = self._loop.call_later(self._reaction.delay_s, self._play)
        else:
            self._play()

    def over(self, how: How) -> None:
        """Stop every timer and report the end."""
        if self._timer is not None:
            self._timer.cancel()
        self._ended(how, self._status)

    def _play(self) -> None:
        body = self._reaction.body
        match self._reaction.manner:
            case Manner.WHOLE:
                self._head()
                self._responder.send_data(body)
                self._responder.end()
            case Manner.HALF_THEN_HANG:
                self._head()
                self._responder.send_data(body[: len(body) // 2])
            case Manner.HALF_THEN_RESET:
                self._head()
                self._responder.send_data(body[: len(body) // 2])
                self._timer = self._loop.call_later(CUT_AFTER_S, self._responder.reset)
            case Manner.DRIP:
                self._head()
                self._drip()
            case Manner.HANG:
                pass
            case Manner.RESET:
                self._responder.reset()

    def _head(self) -> None:
        self._status = self._reaction.status
        self._responder.send_headers(self._reaction.status, self._reaction.headers)

    def _drip(self) -> None:
        if self._sent == len(self._reaction.body):
            self._responder.end()
            return
        self._responder.send_data(self._reaction.body[self._sent : self._sent + 1])
        self._sent += 1
        self._timer = self._loop.call_later(self._reaction.drip_s, self._drip)
