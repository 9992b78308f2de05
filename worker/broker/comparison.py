"""How a broker's topology differs from what is wanted: each difference with what to do about it.

What is there beside it is nobody's business, but for bindings into Warren's queues: a stray one brings in
messages from elsewhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from worker.broker.definitions import to_definitions
from worker.broker.topology import Topology

Thing: TypeAlias = Mapping[str, Any]

_SINGULAR: Final = {
    "exchanges": "exchange",
    "queues": "queue",
    "bindings": "binding",
    "policies": "policy",
    "users": "user",
    "permissions": "permissions of user",
    "topic_permissions": "topic permissions of user",
}
_APPLY: Final = "run `warren topology apply`"
_REPLACE: Final = (
    "it cannot be changed in place: stop the workers, let it run empty, delete it, then " + _APPLY
)
# What is compared of each thing; the management API shows much more.
_COMPARED: Final[Mapping[str, Sequence[str]]] = {
    "exchanges": ("type", "durable", "auto_delete", "internal"),
    "queues": ("durable", "auto_delete", "arguments"),
    "bindings": (),
    "policies": ("pattern", "apply-to", "definition", "priority"),
    "users": ("tags",),
    "permissions": ("configure", "write", "read"),
    "topic_permissions": ("write", "read"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a virtual host holds, as the management API lists it; None: it was not shown."""

    vhost: str
    exchanges: Sequence[Thing]
    queues: Sequence[Thing]
    bindings: Sequence[Thing]
    policies: Sequence[Thing] | None
    users: Sequence[Thing] | None
    permissions: Sequence[Thing] | None
    topic_permissions: Sequence[Thing] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as wanted; `advice` says what to do."""

    kind: str
    name: str
    problem: str
    advice: str

    def __str__(self) -> str:
        return f"{_SINGULAR[self.kind]} {self.name}: {self.problem}; {self.advice}"


def compare(wanted: Topology, found: Found) -> list[Difference]:
    """Tell all differences, in the order in which they are best mended."""
    definitions = to_definitions(wanted, vhost=found.vhost)
    differences: list[Difference] = []
    for kind in _COMPARED:
        differences += _compare(kind, definitions[kind], getattr(found, kind), found.vhost)
    return [*differences, *_strays(definitions, found)]


def name_of(kind: str, thing: Thing) -> str:
    """Give the name under which a thing is told, unique within its kind."""
    match kind:
        case "bindings":
            return f"{thing['source']} --{thing['routing_key']}--> {thing['destination']}"
        case "permissions":
            return str(thing["user"])
        case "topic_permissions":
            return f"{thing['user']} on {thing['exchange']}"
        case _:
            return str(thing["name"])


def _compare(
    kind: str, wanted: Sequence[Thing], found: Sequence[Thing] | None, vhost: str
) -> Iterator[Difference]:
    if found is None:
        yield Difference(
            kind=kind,
            name="*",
            problem="not checked, since this user may not see them",
            advice="check as a user with the tag administrator",
        )
        return
    there = {name_of(kind, thing): thing for thing in found if thing.get("vhost", vhost) == vhost}
    for thing in wanted:
        name = name_of(kind, thing)
        if name not in there:
            advice = (
                "add it with `rabbitmqctl add_user` and give it a password"
                if kind == "users"
                else _APPLY
            )
            yield Difference(kind=kind, name=name, problem="is missing", advice=advice)
        elif problem := _unlike(kind, thing, there[name]):
            advice = _REPLACE if kind in {"exchanges", "queues"} else _APPLY
            if kind == "users":
                advice = "set them with `rabbitmqctl set_user_tags`"
            yield Difference(kind=kind, name=name, problem=problem, advice=advice)


def _unlike(kind: str, wanted: Thing, found: Thing) -> str:
    problems = []
    for part in _COMPARED[kind]:
        want, have = _normal(part, wanted[part]), _normal(part, found.get(part))
        if isinstance(want, dict) and isinstance(have, dict):
            problems += [
                f"{key} is {have.get(key)!r} instead of {want.get(key)!r}"
                for key in sorted(want.keys() | have.keys())
                if want.get(key) != have.get(key)
            ]
        elif want != have:
            problems.append(f"{part} is {have!r} instead of {want!r}")
    return ", ".join(problems)


def _normal(part: str, value: Any) -> Any:  # noqa: ANN401  # JSON
    """Give a value as it is compared: RabbitMQ wrote tags as one string before 3.11."""
    if part == "tags":
        listed = value.split(",") if isinstance(value, str) else value or []
        return sorted(tag for tag in listed if tag)
    return value


def _strays(definitions: Mapping[str, Sequence[Thing]], found: Found) -> Iterator[Difference]:
    wanted = {name_of("bindings", binding) for binding in definitions["bindings"]}
    queues = {queue["name"] for queue in definitions["queues"]}
    for binding in found.bindings:
        name = name_of("bindings", binding)
        # Every queue is bound to the default exchange by its own name; nobody may write to that.
        if binding["source"] and binding["destination"] in queues and name not in wanted:
            yield Difference(
                kind="bindings",
                name=name,
                problem="is not Warren's",
                advice="find out who made it, and remove it in RabbitMQ's management pages",
            )
