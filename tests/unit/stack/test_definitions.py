import json
import re
from pathlib import Path
from typing import Any

import pytest

from worker.broker.definitions import to_definitions
from worker.broker.topology import topology

_ROOT = Path(__file__).parents[3]
_FILE: dict[str, Any] = json.loads((_ROOT / "rabbitmq/definitions.json").read_text("utf-8"))
_QUORUM: dict[str, Any] = json.loads(
    (_ROOT / "rabbitmq/definitions-quorum.json").read_text("utf-8")
)
_PERMISSIONS = {row["user"]: row for row in _FILE["permissions"]}
_SHARED = [row["name"] for kind in ("queues", "exchanges") for row in _FILE[kind]]


def test_the_committed_file_is_the_generated_one() -> None:
    assert to_definitions(topology(("premium", "standard", "budget"))) == _FILE


def test_the_committed_file_of_quorum_queues_is_the_generated_one() -> None:
    tiers = ("premium", "standard", "budget")
    assert to_definitions(topology(tiers, queue_type="quorum")) == _QUORUM


def test_the_two_files_differ_in_the_queues_arguments_alone() -> None:
    assert {kind for kind in _FILE if _FILE[kind] != _QUORUM[kind]} == {"queues"}
    assert [row["name"] for row in _FILE["queues"]] == [row["name"] for row in _QUORUM["queues"]]


def test_every_quorum_queue_has_three_replicas_and_a_delivery_limit_that_no_job_lives_to_see() -> (
    None
):
    for row in _QUORUM["queues"]:
        assert row["durable"]
        assert row["arguments"]["x-queue-type"] == "quorum"
        assert row["arguments"]["x-quorum-initial-group-size"] == 3
        assert row["arguments"]["x-delivery-limit"] > 10**9
        assert "x-max-priority" not in row["arguments"]


def test_no_quorum_queue_loses_what_it_dead_letters() -> None:
    for row in _QUORUM["queues"]:
        arguments = row["arguments"]
        safe = "x-dead-letter-exchange" in arguments
        assert (arguments.get("x-dead-letter-strategy") == "at-least-once") is safe
        assert (arguments.get("x-overflow") == "reject-publish") is safe


def test_a_policy_never_makes_a_queue_drop_what_it_must_dead_letter() -> None:
    dropping = [
        row for row in _FILE["policies"] if row["definition"].get("overflow") == "drop-head"
    ]
    safe = [row["name"] for row in _QUORUM["queues"] if "x-overflow" in row["arguments"]]
    assert not [name for row in dropping for name in safe if re.search(row["pattern"], name)]


def test_no_limit_makes_a_jobs_queue_drop_what_comes_back_from_parking() -> None:
    assert not any(
        re.search(row["pattern"], "warren.jobs.premium.interactive") for row in _FILE["policies"]
    )


def test_no_credential_is_committed() -> None:
    assert {user["password_hash"] for user in _FILE["users"]} == {""}
    assert all("password" not in user for user in _FILE["users"])


@pytest.mark.parametrize("user", ["producer", "worker", "operator"])
def test_nobody_at_run_time_configures_what_is_shared(user: str) -> None:
    pattern = _PERMISSIONS[user]["configure"]

    assert [name for name in _SHARED if re.search(pattern, name)] == []


@pytest.mark.parametrize("user", ["producer", "worker", "operator"])
@pytest.mark.parametrize("exchange", ["warren.return", "amq.default", ""])
def test_nobody_at_run_time_writes_the_return_or_the_default_exchange(
    user: str, exchange: str
) -> None:
    assert re.search(_PERMISSIONS[user]["write"], exchange) is None


@pytest.mark.parametrize(
    ("user", "verb", "allowed"),
    [
        ("producer", "write", {"warren.requests"}),
        ("producer", "read", {"warren.replies"}),
        ("worker", "write", {"warren.park", "warren.dead", "warren.replies"}),
        (
            "worker",
            "read",
            {
                "warren.asks",
                "warren.jobs.premium.interactive",
                "warren.jobs.premium.bulk",
                "warren.jobs.standard.interactive",
                "warren.jobs.standard.bulk",
                "warren.jobs.budget.interactive",
                "warren.jobs.budget.bulk",
            },
        ),
        ("operator", "write", {"warren.replay", "warren.control"}),
        (
            "operator",
            "read",
            {
                "warren.dead.premium",
                "warren.dead.standard",
                "warren.dead.budget",
                "warren.quarantine",
            },
        ),
    ],
)
def test_a_role_reaches_exactly_its_share(user: str, verb: str, allowed: set[str]) -> None:
    pattern = _PERMISSIONS[user][verb]

    assert {name for name in _SHARED if re.search(pattern, name)} == allowed


@pytest.mark.parametrize(
    ("user", "queue", "own"),
    [
        ("producer", "warren.reply.producer.client-1", True),
        ("producer", "warren.reply.producers.client-1", False),
        ("producer", "warren.reply.other.client-1", False),
        ("worker", "warren.control.worker.boot-1", False),
        ("worker", "warren.reply.worker.x", False),
        ("operator", "anything", False),
    ],
)
def test_a_role_owns_its_private_queues_and_no_others(user: str, queue: str, *, own: bool) -> None:
    verbs = ("configure", "write", "read")
    row = _PERMISSIONS[user]

    assert [re.search(row[verb], queue) is not None for verb in verbs] == [own] * 3


def test_every_queue_names_its_type_and_survives_a_restart() -> None:
    assert all(row["durable"] for row in _FILE["queues"])
    assert all(row["arguments"]["x-queue-type"] == "classic" for row in _FILE["queues"])


def test_every_dead_letter_exchange_exists() -> None:
    exchanges = {row["name"] for row in _FILE["exchanges"]}
    arguments = [row["arguments"] for row in _FILE["queues"]]

    assert {
        row["x-dead-letter-exchange"] for row in arguments if "x-dead-letter-exchange" in row
    } <= exchanges


def test_a_parked_copy_keeps_its_routing_key_on_the_way_back() -> None:
    parking = [row for row in _FILE["queues"] if row["name"].startswith("warren.park.")]

    assert [row["arguments"]["x-message-ttl"] for row in parking] == [
        2_000,
        10_000,
        60_000,
        300_000,
        1_800_000,
    ]
    assert all("x-dead-letter-routing-key" not in row["arguments"] for row in parking)
