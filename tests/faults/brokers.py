"""Harm that is done to a broker, and undone: everything blocks, so call it in a thread."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

from stack.broker import Broker
from tests.faults.vhost import Vhost

# As rabbitmq/rabbitmq.conf has them.
_MEMORY_SHARE = "0.5"
_DISK_FREE = "2GB"
_RAISED_S = 30.0


def restart(broker: Broker, again: Callable[[], Broker], *, kill: bool) -> None:
    """End the node, politely or by SIGKILL, and start it in its place: `again` gives the running node."""
    if kill:
        broker.kill()
    else:
        broker.stop()
    found = again()
    if (found.amqp_port, found.folder) != (broker.amqp_port, broker.folder):
        raise AssertionError(f"{found} is not where {broker} was")


@contextmanager
def memory_alarm(broker: Broker) -> Iterator[None]:
    """Let the node believe that its memory is used up; the block runs once it does."""
    with _alarm(broker, "set_vm_memory_high_watermark", "0.000001", _MEMORY_SHARE):
        yield


@contextmanager
def disk_alarm(broker: Broker) -> Iterator[None]:
    """Let the node believe that its disk is full; the block runs once it does."""
    with _alarm(broker, "set_disk_free_limit", "100000GB", _DISK_FREE):
        yield


@contextmanager
def _alarm(broker: Broker, limit: str, absurd: str, usual: str) -> Iterator[None]:
    broker.ctl(limit, absurd)
    try:
        end = time.monotonic() + _RAISED_S
        while not has_alarm(broker):
            if time.monotonic() > end:
                raise AssertionError(f"the broker raised no alarm at {limit} {absurd}")
        yield
    finally:
        broker.ctl(limit, usual)


def has_alarm(broker: Broker) -> bool:
    """Tell whether an alarm is in force."""
    return "alarm" in broker.ctl(
        "eval", "case rabbit_alarm:get_alarms() of [] -> ok; _ -> alarm end."
    )


def delete_queue(vhost: Vhost, name: str) -> None:
    """Delete a queue with all that is in it."""
    vhost.api("DELETE", f"queues/{vhost.name}/{quote(name, safe='')}")


@contextmanager
def revoked(vhost: Vhost, user: str) -> Iterator[None]:
    """Take a user's permissions on this virtual host away, for as long as the block runs."""
    path = f"permissions/{vhost.name}/{user}"
    had = vhost.api("GET", path)
    vhost.api("DELETE", path)
    try:
        yield
    finally:
        vhost.api("PUT", path, had)


def rotate_password(vhost: Vhost, user: str) -> str:
    """Give a user another password, known to this `Vhost` alone from now on; connections that are open stay."""
    fresh = secrets.token_hex(16)
    tags = vhost.api("GET", f"users/{user}")
    if not isinstance(tags, dict):
        raise TypeError(f"the management API knows no user {user}")
    vhost.api("PUT", f"users/{user}", {"password": fresh, "tags": tags["tags"]})
    vhost.passwords[user] = fresh
    return fresh
