"""Harm that is done to a broker, and undone: everything blocks, so call it in a thread."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

from stack.broker import Broker
from tests.faults.vhost import Vhost

# As rabbitmq/rabbitmq.conf has them.
_MEMORY_SHARE = "0.5"
_DISK_FREE = "2GB"


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
    """Let the node believe that its memory is used up."""
    broker.ctl("set_vm_memory_high_watermark", "0.000001")
    try:
        yield
    finally:
        broker.ctl("set_vm_memory_high_watermark", _MEMORY_SHARE)


@contextmanager
def disk_alarm(broker: Broker) -> Iterator[None]:
    """Let the node believe that its disk is full."""
    broker.ctl("set_disk_free_limit", "100000GB")
    try:
        yield
    finally:
        broker.ctl("set_disk_free_limit", _DISK_FREE)


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
