"""Chooses the ports of a node."""

import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass

# Below the range from which Linux takes the ports of outgoing connections.
_PORTS = range(20_000, 32_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The four ports of a node, all on 127.0.0.1."""

    amqp: int
    http: int
    dist: int
    epmd: int


def choose_ports(last: Ports | None, *, amqp: int, http: int, epmd: int = 0) -> Ports:
    """Take the ports asked for; for a zero the last run's port if it is free, else any free one."""
    taken: set[int] = {amqp, http, epmd} - {0}

    def choose(asked: int, before: int | None) -> int:
        port = asked
        if not port and before is not None and before not in taken and is_free(before):
            port = before
        port = port or free_port(taken)
        taken.add(port)
        return port

    return Ports(
        amqp=choose(amqp, last.amqp if last else None),
        http=choose(http, last.http if last else None),
        dist=choose(0, last.dist if last else None),
        epmd=choose(epmd, last.epmd if last else None),
    )


def keep_ports(last: Sequence[int], alive: Sequence[bool], count: int) -> tuple[int, ...]:
    """Give `count` ports: those of `last` whose owner is alive or that are free, and others for the rest."""
    kept = [
        port if living or is_free(port) else 0 for port, living in zip(last, alive, strict=True)
    ]
    kept = [*kept, *[0] * count][:count]
    taken = set(kept)
    for number, port in enumerate(kept):
        if not port:
            kept[number] = free_port(taken)
            taken.add(kept[number])
    return tuple(kept)


def free_port(taken: set[int]) -> int:
    """Give a port that nobody listens on now; a rival may still take it first."""
    candidates = list(_PORTS)
    # Not by a seed: test processes side by side have the same one, and would reach for the same ports.
    random.SystemRandom().shuffle(candidates)
    return next(port for port in candidates if port not in taken and is_free(port))


def serves_amqp(port: int) -> bool:
    """Shake hands: RabbitMQ opens its AMQP listener last, after plugins and definitions.

    A forwarder before it, such as docker's, takes connections sooner, but says nothing.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


def is_free(port: int) -> bool:
    """Tell whether one can listen on that port of 127.0.0.1 now; 0: on any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
