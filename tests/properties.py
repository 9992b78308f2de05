"""An envelope as the AMQP library's own properties: what the worker writes has to be the same, byte for byte."""

from datetime import timedelta

from pamqp.commands import Basic

from producer_sdk.wire import Envelope


def properties_of(envelope: Envelope, message_id: str) -> Basic.Properties:
    """Give the properties of a message that the worker publishes."""
    expiration = envelope.expiration
    return Basic.Properties(
        content_type=envelope.content_type,
        headers=dict(envelope.headers),
        delivery_mode=2,
        priority=envelope.priority,
        correlation_id=envelope.correlation_id,
        reply_to=envelope.reply_to,
        expiration=None
        if expiration is None
        else str(max(1, expiration // timedelta(milliseconds=1))),
        message_id=message_id,
        message_type=envelope.kind,
        timestamp=envelope.at,
    )
