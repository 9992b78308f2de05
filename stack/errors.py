"""What can go wrong while the stack comes up.

StackError            one sentence for a person at a terminal, with what to do next
  BrokerNotFound      no RabbitMQ here, and none could be fetched
  BrokerFailed        a node did not start, or a command to it failed
"""


class StackError(Exception):
    """Something a person can act on; the text says what happened and what to do."""


class BrokerNotFound(StackError):  # noqa: N818 - the word callers use
    """No RabbitMQ is installed and none could be unpacked here."""


class BrokerFailed(StackError):  # noqa: N818 - the word callers use
    """A private node did not start, or refused a command."""
