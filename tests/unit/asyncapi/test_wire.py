"""Requests, asks and replies: the document says what the models do."""

from decimal import Decimal
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from producer_sdk.connection import Address
from producer_sdk.wire import (
    Ask,
    CompletionReply,
    CompletionRequest,
    Dedupe,
    Envelope,
    Status,
    Verb,
    WireError,
    _ErrorBody,
)
from tests.unit.asyncapi.derived import COST, HEADER, Wired, bodiless, parse, places, received, sent
from tests.unit.asyncapi.document import MESSAGES, SCHEMAS, rules, whole
from tests.unit.asyncapi.messages import (
    ASK,
    ASK_BY_KEY,
    JOB,
    LEAST_REPLY,
    LEAST_REQUEST,
    OF_A_REPLY,
    OF_A_REQUEST,
    OF_AN_ASK,
    REPLY,
    REQUEST,
    sdk_properties,
    worker_properties,
)
from worker.core.kinds import Kind


def ordered(schema: dict[str, Any]) -> dict[str, Any]:
    return schema | {"required": sorted(schema["required"])}


@pytest.mark.parametrize(
    ("model", "variants"),
    [(CompletionRequest, OF_A_REQUEST), (Ask, OF_AN_ASK), (CompletionReply, OF_A_REPLY)],
)
def test_no_field_of_a_model_is_left_out(
    model: type[BaseModel], variants: dict[str, object]
) -> None:
    assert variants.keys() == bodiless(model)


def test_a_requests_headers_are_the_models() -> None:
    assert ordered(rules(SCHEMAS["RequestHeaders"])) == received(
        [LEAST_REQUEST, REQUEST], OF_A_REQUEST
    ).headers  # fmt: skip


def test_an_asks_headers_are_the_models() -> None:
    said = ordered(rules(SCHEMAS["AskHeaders"]))
    assert said.pop("oneOf") == [{"required": ["x-warren-job"]}, {"required": ["x-warren-key"]}]
    assert said == received([ASK, ASK_BY_KEY], OF_AN_ASK).headers


def test_a_replys_headers_are_the_models() -> None:
    assert ordered(rules(SCHEMAS["ReplyHeaders"])) == sent([LEAST_REPLY, REPLY], OF_A_REPLY).headers


def test_the_two_replies_divide_the_statuses_between_them() -> None:
    (_, completed), (_, failed) = (
        MESSAGES[name]["headers"]["allOf"] for name in ("completed", "failed")
    )
    assert completed["properties"]["x-warren-status"] == {"const": Status.COMPLETED.value}
    assert failed["properties"]["x-warren-status"]["enum"] == [
        status.value for status in Status if status is not Status.COMPLETED
    ]


def test_a_failed_replys_payload_is_the_models() -> None:
    said = rules(SCHEMAS["ErrorBody"])["properties"]["error"]
    model = _ErrorBody.model_json_schema()["$defs"]["ReplyError"]
    assert said["required"] == model["required"]
    assert said["properties"].pop("kind") == {
        "type": "string",
        "x-known-values": [kind.value for kind in Kind],
    }
    types = {
        name: field.get("type") or field["anyOf"][0]["type"]
        for name, field in model["properties"].items()
        if name != "kind"
    }
    assert {name: field["type"] for name, field in said["properties"].items()} == types


@pytest.mark.parametrize(
    ("name", "samples", "variants"),
    [
        ("RequestProperties", [LEAST_REQUEST, REQUEST], OF_A_REQUEST),
        ("AskProperties", [ASK, ASK_BY_KEY], OF_AN_ASK),
    ],
)
def test_the_properties_that_a_producer_sends_are_the_models_and_the_sdks(
    name: str, samples: list[Wired], variants: dict[str, object]
) -> None:
    said = rules(SCHEMAS[name])
    known = received(samples, variants).properties
    assert set(said["required"]) == {*known["required"], "user_id"}
    assert {each: said["properties"][each] for each in known["properties"]} == known["properties"]
    sending = [sdk_properties(sample.envelope()) for sample in samples]
    assert said["properties"].keys() == set.union(*(set(each) for each in sending))
    for each in sending:
        constants = {key: it["const"] for key, it in said["properties"].items() if "const" in it}
        assert constants.items() <= each.items()


def test_the_properties_that_a_reply_has_are_the_models_and_the_workers() -> None:
    said = rules(SCHEMAS["ReplyProperties"])
    known = sent([LEAST_REPLY, REPLY], OF_A_REPLY).properties
    sending = worker_properties(REPLY.envelope())
    assert said["properties"].keys() == set(said["required"]) == sending.keys()
    assert {each: said["properties"][each] for each in known["properties"]} == known["properties"]
    constants = {key: it["const"] for key, it in said["properties"].items() if "const" in it}
    assert constants.items() <= sending.items()


def test_message_types_stand_in_the_bindings_too() -> None:
    for message in MESSAGES.values():
        kind = rules(message["x-amqp-properties"])["properties"]["type"]["const"]
        assert kind == message["name"] == message["bindings"]["amqp"]["messageType"]
        content = rules(message["x-amqp-properties"])["properties"]["content_type"]["const"]
        assert content == message["contentType"]


# What a header or a property may be said to be, right and wrong; none has a line break, which Python's "$" overlooks.
SAID = st.one_of(
    st.sampled_from(["", "k", "k" * 256, "k" * 257, JOB, JOB.upper(), JOB[1:], "billing.c", "c"]),
    st.sampled_from([*Dedupe, *Verb, *Status, "/v1/chat/completions", "/v1/embeddings", "/v2"]),
    st.sampled_from([-1, 0, 1, 2, 9, 10, 253_370_764_800_000, 253_370_764_800_001]),
)


@pytest.mark.parametrize(
    ("name", "sample"), [("Request", REQUEST), ("Ask", ASK), ("Ask", ASK_BY_KEY)]
)
@given(data=st.data())
def test_what_the_schema_refuses_is_what_the_receiver_refuses(
    name: str, sample: Wired, data: st.DataObject
) -> None:
    envelope = sample.envelope()
    headers: dict[str, Any] = dict(envelope.headers)
    every = sorted(SCHEMAS[f"{name}Headers"]["properties"])
    for changed in data.draw(st.lists(st.sampled_from(every), unique=True, max_size=2)):
        if (value := data.draw(SAID | st.none())) is None:
            headers.pop(changed, None)
        else:
            headers[changed] = str(value) if isinstance(value, str) else value
    fits = jsonschema.Draft7Validator(whole(SCHEMAS[f"{name}Headers"])).is_valid(headers)
    try:
        parse(type(sample), Envelope(headers=headers, correlation_id="s1"))
    except WireError:
        assert not fits
    else:
        assert fits


@given(st.decimals(min_value=0, allow_nan=False, allow_infinity=False))
def test_every_cost_is_written_as_the_document_says(cost: Decimal) -> None:
    written = REPLY.model_copy(update={"cost": cost}).envelope().headers[f"{HEADER}cost"]
    assert jsonschema.Draft7Validator(COST).is_valid(written)


def test_the_tenant_is_told_by_the_property_that_the_broker_checks() -> None:
    assert "user_id" not in places(REQUEST.envelope())
    address = Address.parse("amqp://billing:x@127.0.0.1/warren")
    assert sdk_properties(REQUEST.envelope())["user_id"] == address.tenant
