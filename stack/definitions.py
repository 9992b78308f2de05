"""Generates `rabbitmq/definitions.json`: `python -m stack.definitions > rabbitmq/definitions.json`.

Arguments hold what can never change on a living queue (type, priorities, TTL, dead-lettering); policies
hold limits, which an operator may change at any time. It loads on RabbitMQ 3.10, 4.0 and 4.3.
"""

import json
import sys
from typing import Any

VHOST = "warren"
TIERS = ("premium", "standard", "budget")
LANE = "interactive"
PARKING_MS = {"2s": 2_000, "10s": 10_000, "1m": 60_000, "5m": 300_000, "30m": 1_800_000}

_EXCHANGES = {
    "warren.requests": "direct",
    "warren.return": "topic",
    "warren.replay": "direct",
    "warren.park": "topic",
    "warren.dead": "direct",
    "warren.replies": "topic",
    "warren.control": "topic",
}
_MIB = 1024 * 1024
_NOTHING = "^$"

Json = dict[str, Any]


def definitions() -> Json:
    """Give the whole file as a value."""
    return {
        "users": _users(),
        "vhosts": [{"name": VHOST}],
        "permissions": _permissions(),
        "topic_permissions": [
            {
                "user": "producer",
                "vhost": VHOST,
                "exchange": "warren.replies",
                "write": _NOTHING,
                "read": r"^producer\.",
            },
        ],
        "parameters": [],
        "policies": _policies(),
        "exchanges": [_exchange(name, kind) for name, kind in _EXCHANGES.items()],
        "queues": _queues(),
        "bindings": _bindings(),
    }


def _users() -> list[Json]:
    tags = {"producer": [], "worker": [], "operator": ["monitoring"], "admin": ["administrator"]}
    return [
        {
            "name": name,
            "password_hash": "",  # nobody logs in with it; `./dev up` fills a copy
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": tag,
        }
        for name, tag in tags.items()
    ]


def _permissions() -> list[Json]:
    # Reading an exchange is binding to it; writing a queue is binding it. Nobody at run time may write
    # `warren.return` or the default exchange (`amq.default`), or configure what is shared.
    table = {
        "producer": (
            r"^warren\.reply\.producer\..*$",
            r"^(warren\.requests|warren\.reply\.producer\..*)$",
            r"^(warren\.replies|warren\.reply\.producer\..*)$",
        ),
        "worker": (
            r"^warren\.control\.worker\..*$",
            r"^(warren\.(park|dead|replies)|warren\.control\.worker\..*)$",
            r"^(warren\.jobs\..*|warren\.control|warren\.control\.worker\..*)$",
        ),
        "operator": (
            _NOTHING,
            r"^warren\.(replay|control)$",
            r"^(warren\.dead\..*|warren\.quarantine)$",
        ),
        "admin": (r"^warren\..*$", r"^warren\..*$", r"^warren\..*$"),
    }
    return [
        {"user": user, "vhost": VHOST, "configure": configure, "write": write, "read": read}
        for user, (configure, write, read) in table.items()
    ]


def _policies() -> list[Json]:
    return [
        # A full queue refuses the publish, and the producer hears it: nothing accepted is dropped.
        _policy(
            "warren-jobs",
            r"^warren\.jobs\.",
            {"max-length-bytes": 1024 * _MIB, "overflow": "reject-publish"},
        ),
        # A flood of unreadable messages must not fill the disk, and refusing them would hold up
        # the jobs behind them: the oldest go.
        _policy(
            "warren-quarantine",
            r"^warren\.quarantine$",
            {"max-length": 10_000, "max-length-bytes": 256 * _MIB, "overflow": "drop-head"},
        ),
    ]


def _policy(name: str, pattern: str, limits: Json) -> Json:
    return {
        "vhost": VHOST,
        "name": name,
        "pattern": pattern,
        "apply-to": "queues",
        "definition": limits,
        "priority": 10,
    }


def _exchange(name: str, kind: str) -> Json:
    return {
        "name": name,
        "vhost": VHOST,
        "type": kind,
        "durable": True,
        "auto_delete": False,
        "internal": False,
        "arguments": {},
    }


def _queues() -> list[Json]:
    jobs = [
        _queue(
            f"warren.jobs.{tier}.{LANE}",
            {
                "x-max-priority": 10,
                "x-dead-letter-exchange": "warren.dead",
                "x-dead-letter-routing-key": tier,
            },
        )
        for tier in TIERS
    ]
    dead = [_queue(f"warren.dead.{tier}", {}) for tier in TIERS]
    parking = [
        _queue(
            f"warren.park.{level}",
            {"x-message-ttl": ttl, "x-dead-letter-exchange": "warren.return"},
        )
        for level, ttl in PARKING_MS.items()
    ]
    return [*jobs, *dead, _queue("warren.quarantine", {}), *parking]


def _queue(name: str, arguments: Json) -> Json:
    return {
        "name": name,
        "vhost": VHOST,
        "durable": True,
        "auto_delete": False,
        "arguments": {"x-queue-type": "classic", **arguments},
    }


def _bindings() -> list[Json]:
    table = [("warren.dead", "quarantine", "warren.quarantine")]
    for tier in TIERS:
        jobs = f"warren.jobs.{tier}.{LANE}"
        table += [
            ("warren.requests", f"{tier}.{LANE}", jobs),
            ("warren.replay", f"{tier}.{LANE}", jobs),
            ("warren.return", f"*.{tier}.{LANE}", jobs),  # * is the parking level
            ("warren.dead", tier, f"warren.dead.{tier}"),
        ]
    table += [("warren.park", f"{level}.#", f"warren.park.{level}") for level in PARKING_MS]
    return [
        {
            "source": source,
            "vhost": VHOST,
            "destination": queue,
            "destination_type": "queue",
            "routing_key": key,
            "arguments": {},
        }
        for source, key, queue in table
    ]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(definitions(), indent=2) + "\n")
