"""What can go wrong while the stack comes up.

StackError            one sentence for a person at a terminal, with what to do next
  PackagesNotHad      apt could not fetch or unpack something
  BrokerNotFound      no RabbitMQ here, and none could be fetched
  BrokerFailed        a node did not start, or a command to it failed
  RedisNotFound       no Redis or Valkey here, and none could be fetched
  RedisFailed         a Redis did not start, or a command to it failed
  PrometheusNotFound  no Prometheus here, and none could be fetched
"""


class StackError(Exception):
    """Something a person can act on; the text says what happened and what to do."""


class PackagesNotHad(StackError):  # noqa: N818 - what happened, in two words
    """The distribution's packages could not be fetched or unpacked."""


class BrokerNotFound(StackError):  # noqa: N818 - the word callers use
    """No RabbitMQ is installed and none could be unpacked here."""


class BrokerFailed(StackError):  # noqa: N818 - the word callers use
    """A private node did not start, or refused a command."""


class RedisNotFound(StackError):  # noqa: N818 - as `BrokerNotFound`
    """No Redis is installed and none could be unpacked here."""


class RedisFailed(StackError):  # noqa: N818 - as `BrokerFailed`
    """A private Redis did not start, or refused a command."""


class PrometheusNotFound(StackError):  # noqa: N818 - as `BrokerNotFound`
    """No Prometheus is installed and none could be unpacked here."""
