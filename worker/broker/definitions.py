"""The topology in RabbitMQ's own format: what a broker loads, and what its management API shows and takes."""

from typing import Any

from worker.broker.topology import Policy, Topology


def to_definitions(wanted: Topology, *, vhost: str = "warren") -> dict[str, Any]:
    """Give the topology as RabbitMQ's definitions. No user in them can log in: they hold no passwords."""
    durable = {"vhost": vhost, "durable": True, "auto_delete": False}
    return {
        "users": [
            {
                "name": user.name,
                "password_hash": "",
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": list(user.tags),
            }
            for user in wanted.users
        ],
        "vhosts": [{"name": vhost}],
        "permissions": [
            {"user": p.user, "vhost": vhost, "configure": p.configure, "write": p.write, "read": p.read}
            for p in wanted.permissions
        ],
        "topic_permissions": [
            {"user": p.user, "vhost": vhost, "exchange": p.exchange, "write": p.write, "read": p.read}
            for p in wanted.topic_permissions
        ],
        "parameters": [],
        "policies": [{"vhost": vhost, "name": p.name} | policy_body(p) for p in wanted.policies],
        "exchanges": [
            {"name": e.name, "type": e.kind, "internal": False, "arguments": {}} | durable
            for e in wanted.exchanges
        ],
        "queues": [
            {"name": q.name, "arguments": dict(q.arguments)} | durable for q in wanted.queues
        ],
        "bindings": [
            {
                "source": b.source,
                "vhost": vhost,
                "destination": b.queue,
                "destination_type": "queue",
                "routing_key": b.key,
                "arguments": {},
            }
            for b in wanted.bindings
        ],
    }  # fmt: skip


def policy_body(policy: Policy) -> dict[str, Any]:
    """Give a policy as RabbitMQ writes it, without its name and virtual host."""
    return {
        "pattern": policy.pattern,
        "apply-to": "queues",
        "definition": dict(policy.limits),
        "priority": 10,
    }
