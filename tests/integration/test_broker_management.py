import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from tests.faults.vhost import Vhost
from tests.integration.house import QUEUE, TIERS, House, open_house, open_worker, until
from worker.broker.management import Management
from worker.broker.topology import topology
from worker.errors import BrokerUnavailable

pytestmark = pytest.mark.broker

WANTED = topology(TIERS)


@pytest_asyncio.fixture
async def house(vhost: Vhost) -> AsyncIterator[House]:
    async with open_house(vhost) as opened:
        yield opened


async def differences(house: House) -> list[str]:
    return [str(found) for found in await asyncio.to_thread(house.admin.check, WANTED)]


async def test_the_committed_definitions_make_what_is_wanted(house: House) -> None:
    assert await differences(house) == []


async def remake(house: House, queue: str, body: dict[str, Any]) -> None:
    await house.api("DELETE", f"queues/{{v}}/{queue}")
    await house.api("PUT", f"queues/{{v}}/{queue}", body)


async def bind(house: House) -> None:
    path = f"bindings/{{v}}/e/warren.requests/q/{QUEUE}"
    await house.api("POST", path, {"routing_key": "another"})


PLANTED: dict[str, tuple[Any, str, bool]] = {
    "exchange missing": (
        lambda house: house.api("DELETE", "exchanges/{v}/warren.park"),
        "exchange warren.park: is missing",
        True,
    ),
    "queue missing": (
        lambda house: house.api("DELETE", "queues/{v}/warren.dead.budget"),
        "queue warren.dead.budget: is missing",
        True,
    ),
    "binding missing": (
        lambda house: house.api("DELETE", "bindings/{v}/e/warren.dead/q/warren.dead.budget/budget"),
        "binding warren.dead --budget--> warren.dead.budget: is missing",
        True,
    ),
    "binding that is not ours": (
        bind,
        f"binding warren.requests --another--> {QUEUE}: is not Warren's",
        False,
    ),
    "queue without priorities": (
        lambda house: remake(house, QUEUE, {"durable": True}),
        f"queue {QUEUE}: x-dead-letter-exchange is None instead of 'warren.dead'",
        False,
    ),
    "queue that is not durable": (
        lambda house: remake(
            house,
            "warren.dead.budget",
            {"durable": False, "arguments": {"x-queue-type": "classic"}},
        ),
        "queue warren.dead.budget: durable is False instead of True",
        False,
    ),
    "policy missing": (
        lambda house: house.api("DELETE", "policies/{v}/warren-quarantine"),
        "policy warren-quarantine: is missing",
        True,
    ),
    "policy of another limit": (
        lambda house: house.api(
            "PUT",
            "policies/{v}/warren-quarantine",
            {
                "pattern": "^x",
                "definition": {"max-length": 1},
                "apply-to": "queues",
                "priority": 10,
            },
        ),
        "policy warren-quarantine: pattern is '^x' instead of",
        True,
    ),
    "permission missing": (
        lambda house: house.api("DELETE", "permissions/{v}/worker"),
        "permissions of user worker: is missing",
        True,
    ),
    "permission too wide": (
        lambda house: house.api(
            "PUT", "permissions/{v}/producer", {"configure": ".*", "write": ".*", "read": ".*"}
        ),
        "permissions of user producer: configure is '.*' instead of",
        True,
    ),
    "topic permission missing": (
        lambda house: house.api("DELETE", "topic-permissions/{v}/producer"),
        "topic permissions of user producer on warren.replies: is missing",
        True,
    ),
}


@pytest.mark.parametrize("name", PLANTED)
async def test_a_planted_difference_is_found_and_mended_where_it_can_be(
    house: House, name: str
) -> None:
    plant, told, mendable = PLANTED[name]
    await plant(house)
    found = await differences(house)
    assert any(told in text for text in found), found
    left = await asyncio.to_thread(house.admin.apply, WANTED)
    assert bool(left) is not mendable
    assert {str(difference) for difference in left} <= set(found)


async def test_an_exchange_of_another_type_is_told_and_left_alone(house: House) -> None:
    await house.api("DELETE", "exchanges/{v}/warren.control")
    await house.api("PUT", "exchanges/{v}/warren.control", {"type": "fanout", "durable": True})
    text, *bindings = sorted(await differences(house), key=lambda it: "type is" not in it)
    assert "type is 'fanout' instead of 'topic'; it cannot be changed in place" in text
    assert all("is missing" in each for each in bindings)
    await asyncio.to_thread(house.admin.apply, WANTED)
    assert await differences(house) == [text]


async def test_a_missing_user_is_told_and_not_made(house: House) -> None:
    wanted = topology(TIERS, tenants=("producer", "newcomer"))
    left = await asyncio.to_thread(house.admin.apply, wanted)
    assert {(difference.kind, difference.name) for difference in left} == {
        ("users", "newcomer"),
        ("permissions", "newcomer"),
        ("topic_permissions", "newcomer on warren.replies"),
    }


async def test_what_a_user_may_not_see_is_told_as_not_checked(house: House) -> None:
    operator = replace(house.admin, user="operator", password=house.vhost.passwords["operator"])
    found = await asyncio.to_thread(operator.check, WANTED)
    assert {difference.kind for difference in found} <= {
        "policies",
        "users",
        "permissions",
        "topic_permissions",
    }
    assert all("not checked" in difference.problem for difference in found)
    assert found


async def test_queues_tell_their_consumers(house: House) -> None:
    async with open_worker(house) as worker:
        await until(lambda: worker.intake.consuming)
        statuses = await asyncio.to_thread(house.admin.queues)
        assert [status.name for status in statuses] == sorted(queue.name for queue in WANTED.queues)


async def test_closing_a_users_connections_closes_no_others(house: House) -> None:
    async with open_worker(house) as worker:
        await worker.connections.open()
        closed = await asyncio.to_thread(house.admin.close_connections, "worker")
        assert closed == 3
    await house.submit("s1")
    assert await asyncio.to_thread(house.admin.close_connections, "worker") == 0


async def test_refusals_say_what_to_do_and_never_the_password(house: House) -> None:
    wrong = replace(house.admin, password="canary")
    amqp = replace(house.admin, url=f"http://127.0.0.1:{house.vhost.broker.amqp_port}")
    nobody = replace(house.admin, url="http://127.0.0.1:1")
    no_vhost = replace(house.admin, vhost="nowhere")
    for api, said in (
        (wrong, "refuses user 'admin'; check the password"),
        (amqp, "cannot be reached"),
        (nobody, "cannot be reached"),
        (no_vhost, "virtual host 'nowhere' exists"),
    ):
        text = await refusal(api)
        assert said in text
        assert "canary" not in text
        assert house.admin.password not in text
    assert "canary" not in repr(wrong)


async def refusal(api: Management) -> str:
    with pytest.raises(BrokerUnavailable) as caught:
        await asyncio.to_thread(api.queues)
    return str(caught.value)
