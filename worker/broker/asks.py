"""Asks: what became of a job, or the wish to cancel it; from tenants, and from operators by an exchange of their own."""

from dataclasses import dataclass, field
from typing import Final

from producer_sdk.tolerance import UNDECODABLE
from producer_sdk.wire import (
    REQUESTS_EXCHANGE,
    Ask,
    CompletionReply,
    Envelope,
    HeaderValue,
    Lane,
    Verb,
    WireError,
    job_id,
)
from worker.broker import names
from worker.broker.channels import Message
from worker.broker.codec import sender
from worker.broker.connection import Link
from worker.broker.delivery import Outlet, Place, Seat, publish_reply
from worker.broker.incoming import Incoming, text
from worker.broker.intake import Intake, Spawn
from worker.broker.trouble import Troubles
from worker.core.model import Asked, Submission
from worker.errors import Unreadable
from worker.ports import TakeAsk

# Asks that are worked on at once: each is one transaction, and one reply that may hold a whole response.
_MOST: Final = 50
# Under which name events and quarantine tell of asks, which belong to no tier.
_TIER: Final = "asks"


@dataclass(frozen=True, slots=True, kw_only=True)
class AskDelivery:
    """The port `AskDelivery` on its channel."""

    verb: Verb
    asked: Asked
    seat: Seat = field(repr=False)
    tag: int
    outlet: Outlet = field(repr=False)
    place: Place = field(repr=False)

    async def publish_reply(self, reply: CompletionReply, route: str) -> None:
        """Publish one reply and return when the broker has confirmed it, or it cannot be had."""
        await publish_reply(self.outlet.publisher, reply, route)

    async def ack(self) -> None:
        """Settle the ask on the channel that it came on; a lost channel: do nothing, it comes again."""
        self.place.left()
        self.seat.ack(self.tag)


class AskIntake(Intake[AskDelivery]):
    """Takes asks, whichever tier they are about."""

    def __init__(
        self, *, link: Link, outlet: Outlet, troubles: Troubles, take: TakeAsk, spawn: Spawn
    ) -> None:
        super().__init__(
            queue=names.ASKS_QUEUE,
            tier=_TIER,
            lane=Lane.INTERACTIVE,
            concurrency=_MOST,
            link=link,
            outlet=outlet,
            troubles=troubles,
            take=take,
            spawn=spawn,
        )

    def _read(self, message: Message, seat: Seat, place: Place) -> AskDelivery:
        verb, asked = read_ask(message.incoming())
        return AskDelivery(
            verb=verb,
            asked=asked,
            seat=seat,
            tag=message.tag,
            outlet=self._outlet,
            place=place,
        )


def read_ask(incoming: Incoming) -> tuple[Verb, Asked]:
    """Give what is asked, and by whom, as the broker says.

    Raises:
        Unreadable: it does not follow the wire contract, or comes from where no ask comes from.
    """
    if UNDECODABLE in incoming.headers:
        raise Unreadable("its properties cannot be decoded")
    ask = _ask(incoming)
    if incoming.exchange == names.CONTROL_EXCHANGE:
        if ask.job_id is None:
            raise Unreadable("an operator's ask must name the job by its id")
        # No operator owns a callback queue; a route here would be somebody else's.
        asker = Submission(id=ask.ask_id, reply_to=None)
        return ask.verb, Asked(job_id=ask.job_id, tenant=None, submission=asker)
    if incoming.exchange != REQUESTS_EXCHANGE:
        raise Unreadable("it came through an exchange that no ask comes through")
    tenant = sender(incoming)
    if ask.reply_to is not None and not ask.reply_to.startswith(f"{tenant}."):
        raise Unreadable("reply_to of another tenant")
    key = ask.idempotency_key
    return ask.verb, Asked(
        job_id=ask.job_id or job_id(tenant, key or ""),
        tenant=tenant,
        submission=Submission(id=ask.ask_id, reply_to=ask.reply_to),
        by_key=key is not None,
    )


def _ask(incoming: Incoming) -> Ask:
    headers: dict[str, HeaderValue] = {}
    for name in ("x-warren-ask", "x-warren-job", "x-warren-key"):
        if (said := incoming.text(name)) is not None:
            headers[name] = said
    if (version := incoming.number("x-warren-version")) is not None:
        headers["x-warren-version"] = version
    claimed = Envelope(
        headers=headers,
        correlation_id=text("correlation_id", incoming.correlation_id),
        reply_to=text("reply_to", incoming.reply_to),
    )
    try:
        return Ask.parse(claimed)
    except WireError as error:
        raise Unreadable(str(error)) from None
