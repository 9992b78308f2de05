"""What the contract's code says, as schemas: found out by using the models, not by reading them.

Which property or header carries a field is seen by changing the field; whether the receiver needs it, by taking it away.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from pydantic import BaseModel

from producer_sdk.wire import (
    _MAX_INSTANT_MS,
    VERSION,
    Ask,
    CompletionReply,
    CompletionRequest,
    Envelope,
    WireError,
)

Schema: TypeAlias = dict[str, Any]
Wired: TypeAlias = CompletionRequest | Ask | CompletionReply

INSTANT: Schema = {"type": "integer", "minimum": 0, "maximum": _MAX_INSTANT_MS}
SECONDS: Schema = {"type": "integer", "minimum": 0}
COST: Schema = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"}
HEADER = "x-warren-"
# AMQP's names of what an envelope calls otherwise.
_PROPERTIES = {
    "correlation_id": "correlation_id",
    "reply_to": "reply_to",
    "priority": "priority",
    "at": "timestamp",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """A message's headers and the properties that its model fills."""

    headers: Schema
    properties: Schema


def received(samples: list[Wired], variants: Mapping[str, object]) -> Contract:
    """Give the contract of a message that Warren receives: what it demands, and what it takes for what is absent."""
    return _contract(samples, variants, needs=_demanded, defaults=True)


def sent(samples: list[Wired], variants: Mapping[str, object]) -> Contract:
    """Give the contract of a message that Warren sends: what is always there."""
    return _contract(samples, variants, needs=_always, defaults=False)


def places(envelope: Envelope) -> dict[str, object]:
    """Give what an envelope fills, by its name in AMQP."""
    found: dict[str, object] = dict(envelope.headers)
    for ours, amqp in _PROPERTIES.items():
        if (value := getattr(envelope, ours)) is not None:
            found[amqp] = value
    return found


def without(envelope: Envelope, place: str) -> Envelope:
    """Give the envelope with one property or header taken away."""
    if place.startswith(HEADER):
        headers = {name: value for name, value in envelope.headers.items() if name != place}
        return replace(envelope, headers=headers)
    ours = next(ours for ours, amqp in _PROPERTIES.items() if amqp == place)
    return replace(envelope, **{ours: None})  # type: ignore[arg-type]  # the name is one of four


def parse(model: type[Wired], envelope: Envelope) -> Wired:
    """Read an envelope as its receiver does; the body, where there is one, is some JSON."""
    return Ask.parse(envelope) if model is Ask else model.parse(envelope, b"{}")  # type: ignore[call-arg]  # mypy cannot see the others


def _contract(
    samples: list[Wired],
    variants: Mapping[str, object],
    *,
    needs: Callable[[list[Wired]], set[str]],
    defaults: bool,
) -> Contract:
    fields = type(samples[0]).model_json_schema()
    schemas: Schema = {f"{HEADER}version": {"type": "integer", "const": VERSION}}
    for field, other in variants.items():
        for place in _carriers(samples, field, other):
            value = places(_with(samples, field).envelope())[place]
            schemas[place] = _wired(fields, field, place, value, defaults=defaults)
    # No header and no property without a field: it would be in nobody's model.
    assert schemas.keys() == {place for each in samples for place in places(each.envelope())}
    required = needs(samples)
    headers = {name: it for name, it in schemas.items() if name.startswith(HEADER)}
    return Contract(
        headers=_object(headers, required),
        properties=_object({k: v for k, v in schemas.items() if k not in headers}, required),
    )


def _object(properties: Schema, required: set[str]) -> Schema:
    return {
        "type": "object",
        "required": sorted(required & properties.keys()),
        "properties": properties,
    }


def _with(samples: list[Wired], field: str) -> Wired:
    return next(each for each in samples if getattr(each, field) is not None)


def _carriers(samples: list[Wired], field: str, other: object) -> set[str]:
    """Find what changes on the wire with the field."""
    sample = _with(samples, field)
    assert getattr(sample, field) != other
    before = places(sample.envelope())
    after = places(sample.model_copy(update={field: other}).envelope())
    assert before.keys() == after.keys()
    return {place for place in before if before[place] != after[place]}


def _demanded(samples: list[Wired]) -> set[str]:
    found = set()
    for sample in samples:
        envelope = sample.envelope()
        for place in places(envelope):
            try:
                parse(type(sample), without(envelope, place))
            except WireError:
                found.add(place)
    # What only one way of saying it needs is told by the rule about both, see the tests.
    return {place for place in found if all(place in places(each.envelope()) for each in samples)}


def _always(samples: list[Wired]) -> set[str]:
    return set.intersection(*(set(places(each.envelope())) for each in samples))


def _wired(fields: Schema, field: str, place: str, value: object, *, defaults: bool) -> Schema:
    """Give a field's schema as its property or header has it."""
    said = dict(fields["properties"][field])
    default = said.pop("default", None)
    if (name := said.pop("$ref", None)) is not None:
        said |= fields["$defs"][name.rpartition("/")[2]]
    choices = [each for each in said.pop("anyOf", []) if each != {"type": "null"}]
    if choices == [{"type": "number", "minimum": 0.0}, {"type": "string"}]:
        assert isinstance(value, str)
        return COST
    for each in choices:
        said |= fields["$defs"][each["$ref"].rpartition("/")[2]] if "$ref" in each else each
    said = {key: it for key, it in said.items() if key not in {"title", "description"}}
    if said.get("format") == "date-time":
        said = SECONDS if place == "timestamp" else INSTANT
    return said | ({"default": default} if defaults and default is not None else {})


def bodiless(model: type[BaseModel], *more: str) -> set[str]:
    """Give the fields that must be carried by properties and headers: all but the body."""
    return set(model.model_fields) - {"body", *more}
