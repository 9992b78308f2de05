"""Who may do what on the broker: one user per role, and one per tenant, each with the least that it needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from producer_sdk.wire import REPLIES_EXCHANGE

_NOTHING: Final = "^$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What a user may configure, write and read: regular expressions over names."""

    user: str
    configure: str
    write: str
    read: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicPermission:
    """With which routing keys a user may publish to a topic exchange (write) and bind to it (read)."""

    user: str
    exchange: str
    write: str
    read: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Someone who may log in, with RabbitMQ's tags."""

    name: str
    tags: tuple[str, ...]


def users(tenants: Sequence[str]) -> tuple[User, ...]:
    """Give all users."""
    return (
        *(User(name=tenant, tags=()) for tenant in tenants),
        User(name="worker", tags=()),
        User(name="operator", tags=("monitoring",)),
        User(name="admin", tags=("administrator",)),
    )


def permissions(tenants: Sequence[str]) -> tuple[Permission, ...]:
    """Give the permissions of all users."""
    return (*(_tenant(tenant) for tenant in tenants), *_staff())


def topic_permissions(tenants: Sequence[str]) -> tuple[TopicPermission, ...]:
    """Give what keeps each tenant to its own replies."""
    return tuple(_replies_of(tenant) for tenant in tenants)


def _tenant(name: str) -> Permission:
    """Let a tenant publish requests, and own and bind its reply queues."""
    own = rf"warren\.reply\.{name}\..*"
    return Permission(
        user=name,
        configure=f"^{own}$",
        write=rf"^(warren\.requests|{own})$",
        read=rf"^(warren\.replies|{own})$",
    )


def _replies_of(tenant: str) -> TopicPermission:
    """Let a tenant bind its own replies only: they are routed by `<tenant>.<client>`."""
    return TopicPermission(
        user=tenant, exchange=REPLIES_EXCHANGE, write=_NOTHING, read=rf"^{tenant}\."
    )


def _staff() -> tuple[Permission, ...]:
    # To read an exchange is to bind to it, to write a queue is to bind it. Nobody at run time may write
    # `warren.return` or the default exchange, or configure what is shared.
    return (
        Permission(
            user="worker",
            configure=_NOTHING,
            write=r"^warren\.(park|dead|replies)$",
            read=r"^(warren\.jobs\..*|warren\.asks)$",
        ),
        Permission(
            user="operator",
            configure=_NOTHING,
            write=r"^warren\.(replay|control)$",
            read=r"^(warren\.dead\..*|warren\.quarantine)$",
        ),
        Permission(
            user="admin", configure=r"^warren\..*$", write=r"^warren\..*$", read=r"^warren\..*$"
        ),
    )
