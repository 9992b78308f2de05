"""A broker that somebody else runs is prepared over its management API."""

import json
from pathlib import Path

import pytest

from stack import external
from stack.errors import StackError
from tests.faults.vhost import DEFINITIONS, Vhost


@pytest.fixture
def definitions(tmp_path: Path, vhost: Vhost) -> Path:
    """Definitions for the test's own virtual host, with one exchange more to look for."""
    found = json.loads(DEFINITIONS.read_text(encoding="utf-8"))
    exchange = {
        "name": "marker",
        "vhost": vhost.name,
        "type": "topic",
        "durable": True,
        "auto_delete": False,
        "internal": False,
        "arguments": {},
    }
    path = tmp_path / "definitions.json"
    path.write_text(json.dumps({"exchanges": [exchange], "vhosts": found["vhosts"]}))
    return path


def test_the_definitions_are_loaded_and_the_addresses_told(vhost: Vhost, definitions: Path) -> None:
    where = external.prepare(vhost.url("admin"), vhost.management, definitions)
    assert where.amqp == f"127.0.0.1:{vhost.broker.amqp_port}"
    assert where.management == f"127.0.0.1:{vhost.broker.http_port}"
    assert vhost.api("GET", f"exchanges/{vhost.name}/marker")


def test_a_user_who_may_not_administer_is_refused_and_told_so(
    vhost: Vhost, definitions: Path
) -> None:
    stranger = vhost.management.replace("admin:", "admin:wrong")
    with pytest.raises(StackError, match="must be an administrator"):
        external.prepare(vhost.url("producer"), stranger, definitions)


def test_a_management_api_that_is_not_there_is_told(vhost: Vhost, definitions: Path) -> None:
    with pytest.raises(StackError, match="cannot be reached"):
        external.prepare(vhost.url("admin"), "http://127.0.0.1:1", definitions)


@pytest.mark.parametrize("url", ["http://host", "amqp://", "nonsense"])
def test_what_is_no_broker_url_is_told(url: str, tmp_path: Path) -> None:
    with pytest.raises(StackError, match="RABBITMQ_URL must look like"):
        external.prepare(url, None, tmp_path)
