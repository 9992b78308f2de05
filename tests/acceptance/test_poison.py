"""Wire poison at a real worker, each kind once as a request and once as an ask."""

import asyncio

from tests.faults.poison import KINDS
from tests.faults.siege import besiege, drained
from tests.faults.stage import Stage


async def test_no_wire_poison_costs_a_connection_or_an_innocent_and_quarantine_has_its_bytes(
    stage: Stage,
) -> None:
    stage.configure(concurrency=16)
    account = await besiege(stage, rounds=1)
    assert account.reconnects == 0
    assert account.unheard == 0
    assert (account.missing, account.intruders, account.lost) == ([], [], [])
    assert account.unreasoned == 0
    # What the broker itself refuses differs by version; it is never most of it.
    assert account.set_aside > 120


def as_quorum(stage: Stage) -> None:
    """Make the jobs queue a quorum queue that gives up on a message at its third redelivery."""
    vhost, name = stage.vhost, "warren.jobs.standard.interactive"
    path = f"queues/{vhost.name}/{name}"
    bindings = vhost.api("GET", f"{path}/bindings")
    vhost.api("DELETE", path)
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": 2,
        "x-dead-letter-exchange": "warren.dead",
        "x-dead-letter-routing-key": "standard",
    }
    vhost.api("PUT", path, {"durable": True, "arguments": arguments})
    assert isinstance(bindings, list)
    for each in bindings:
        if each["source"]:
            source = f"bindings/{vhost.name}/e/{each['source']}/q/{name}"
            vhost.api("POST", source, {"routing_key": each["routing_key"]})


async def test_on_a_quorum_queue_poison_takes_no_innocent_with_it_into_the_dead_letters(
    stage: Stage,
) -> None:
    await asyncio.to_thread(as_quorum, stage)
    stage.configure(concurrency=1)
    account = await besiege(stage, rounds=1, kinds=KINDS[::12])
    assert (account.reconnects, account.unheard) == (0, 0)
    assert (account.missing, account.intruders, account.lost) == ([], [], [])
    assert account.set_aside > 12
    dead = await drained(stage, "warren.dead.standard")
    assert not any(b"innocent" in letter.body for letter in dead)
