import json
import re
from pathlib import Path
from typing import Any

import pytest

from producer_sdk.wire import Lane
from worker.broker.comparison import Found, compare, name_of
from worker.broker.definitions import to_definitions
from worker.broker.topology import Topology, topology

COMMITTED = Path(__file__).parents[4] / "rabbitmq/definitions.json"
TIERS = ("premium", "standard", "budget")
SECTIONS = (
    "users",
    "vhosts",
    "permissions",
    "topic_permissions",
    "policies",
    "exchanges",
    "queues",
    "bindings",
)


def by_name(section: str, definitions: dict[str, Any]) -> dict[str, Any]:
    return {name_of(section, thing): thing for thing in definitions[section]}


@pytest.mark.parametrize("section", SECTIONS)
def test_the_committed_definitions_are_the_topology_of_three_tiers(section: str) -> None:
    committed = json.loads(COMMITTED.read_text(encoding="utf-8"))
    assert by_name(section, committed) == by_name(section, to_definitions(topology(TIERS)))


def test_each_lane_has_queues_of_its_own() -> None:
    wanted = topology(("standard",), lanes=(Lane.INTERACTIVE, Lane.BULK))
    assert {queue.name for queue in wanted.queues} >= {
        "warren.jobs.standard.interactive",
        "warren.jobs.standard.bulk",
    }
    assert [q.name for q in wanted.queues].count("warren.dead.standard") == 1


def test_a_tenant_may_bind_its_own_replies_only() -> None:
    wanted = topology(("standard",), tenants=("acme", "acme2"))
    (pattern,) = (p.read for p in wanted.topic_permissions if p.user == "acme")
    assert re.match(pattern, "acme.client")
    assert not re.match(pattern, "acme2.client")


def test_nobody_but_the_administrator_may_write_where_copies_return() -> None:
    wanted = topology(TIERS)
    writers = {p.user for p in wanted.permissions if re.search(p.write, "warren.return")}
    assert writers == {"admin"}
    assert not [p for p in wanted.permissions if re.search(p.write, "amq.default")]


def found(wanted: Topology) -> Found:
    definitions = to_definitions(wanted, vhost="v")
    return Found(vhost="v", **{s: definitions[s] for s in SECTIONS if s != "vhosts"})


def test_a_topology_does_not_differ_from_itself() -> None:
    assert compare(topology(TIERS), found(topology(TIERS))) == []


def test_what_belongs_to_others_is_no_difference() -> None:
    more = topology((*TIERS, "other"), tenants=("producer", "another"))
    assert compare(topology(TIERS), found(more)) == []


def test_every_missing_thing_is_told_by_name() -> None:
    wanted = topology(TIERS)
    nothing = Topology(
        exchanges=(),
        queues=(),
        bindings=(),
        policies=(),
        users=(),
        permissions=(),
        topic_permissions=(),
    )
    told = compare(wanted, found(nothing))
    count = sum(len(things) for things in to_definitions(wanted).values()) - 1
    assert len({(difference.kind, difference.name) for difference in told}) == count
    assert {difference.problem for difference in told} == {"is missing"}
