"""One look at a broker over AMQP, as its user sees it: nothing is declared, consumed or published."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiormq.exceptions import ChannelClosed

from worker.broker.address import Address, describe
from worker.broker.connection import Link, hush
from worker.broker.trouble import Troubles


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """What a connection shows; `channel_max` 0: any number; `refused` has the broker's word for each queue."""

    version: str
    channel_max: int
    refused: Mapping[str, str]


async def inspect(
    address: Address, queues: Sequence[str], *, tls: ssl.SSLContext | None, troubles: Troubles
) -> Inspected:
    """Connect once, and ask for each queue.

    Raises:
        BrokerUnavailable: there is no connection; the text says what to do.
    """
    hush()
    link = Link(address, purpose="doctor", troubles=troubles, tls=tls)
    try:
        await link.connect()
        connection = await link.ready()
        refused: dict[str, str] = {}
        for queue in queues:
            channel = await link.channel(confirms=False)  # a refusal closes it
            try:
                await channel.queue_declare(queue, passive=True)
            except ChannelClosed as error:
                refused[queue] = describe(error)
            else:
                await channel.close()
        version = connection.server_properties.get("version")
        return Inspected(
            version=version.decode() if isinstance(version, bytes) else str(version),
            channel_max=connection.connection_tune.channel_max or 0,
            refused=refused,
        )
    finally:
        await link.close()
