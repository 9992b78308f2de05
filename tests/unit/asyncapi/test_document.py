"""The document is AsyncAPI 3.0, its examples follow its own schemas, and it is what the page links to."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from producer_sdk.wire import VERSION
from tests.faults.vhost import ROOT
from tests.unit.asyncapi.document import CHANNELS, DOCUMENT, MESSAGES, SCHEMAS, follow, whole


def validator(schema: Any) -> jsonschema.Draft7Validator:  # noqa: ANN401  # any JSON
    return jsonschema.Draft7Validator(whole(schema))


def references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_it_is_an_asyncapi_document() -> None:
    schema = json.loads((ROOT / "tests/schemas/asyncapi-3.0.0.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(schema).validate(DOCUMENT)


def test_its_version_is_the_contracts() -> None:
    assert DOCUMENT["info"]["version"].split(".")[0] == str(VERSION)


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    used = set(references(DOCUMENT))
    for reference in used:
        assert follow(reference) is not None, reference
    components = {
        f"#/components/{kind}/{name}"
        for kind, them in DOCUMENT["components"].items()
        for name in them
    }
    # A dead letter tells its history as text, which no schema can lead into.
    assert components - used == {"#/components/schemas/History"}


def test_nothing_was_lost_to_yaml() -> None:
    assert "null" not in json.dumps(DOCUMENT)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_one_and_its_examples_follow_it(name: str) -> None:
    schema = SCHEMAS[name]
    jsonschema.Draft7Validator.check_schema(whole(schema))
    for example in schema.get("examples", []):
        validator(schema).validate(example)


@pytest.mark.parametrize("name", MESSAGES)
def test_every_messages_examples_follow_its_headers_and_its_payload(name: str) -> None:
    message = MESSAGES[name]
    assert message["examples"]
    for example in message["examples"]:
        validator(message["headers"]).validate(example["headers"])
        assert example["headers"].keys() <= names(message["headers"])
        if "payload" in example:
            validator(message["payload"]).validate(example["payload"])


def names(headers: Any) -> set[str]:  # noqa: ANN401  # any JSON
    said = whole(headers)
    parts = [said, *said.get("allOf", [])]
    return {name for part in parts for name in part.get("properties", {})}


@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_names_the_parameters_of_its_address_and_no_other(name: str) -> None:
    channel = CHANNELS[name]
    assert set(re.findall(r"{(\w+)}", channel["address"])) == set(channel.get("parameters", {}))


@pytest.mark.parametrize("name", DOCUMENT["operations"])
def test_an_operations_messages_are_all_those_of_its_channel(name: str) -> None:
    operation = DOCUMENT["operations"][name]
    channel = operation["channel"]["$ref"]
    assert {each["$ref"] for each in operation["messages"]} == {
        f"{channel}/messages/{message}" for message in follow(channel)["messages"]
    }


def test_the_deployment_page_leads_to_it() -> None:
    page = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    assert "](asyncapi.yaml)" in page
