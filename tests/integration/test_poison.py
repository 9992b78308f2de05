"""Wire poison where no pipeline stands behind: in a callback queue, and in the dead-letter queues."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from producer_sdk import CompletionClient, Reply, Request
from producer_sdk.wire import reply_route
from tests.faults.poison import KINDS, REPLY, Kind, reply, request
from tests.faults.rawamqp import Draft, RawClient, short
from tests.faults.siege import connections
from tests.faults.vhost import ROOT, Vhost
from tests.integration.house import QUEUE, House, open_house, open_worker
from tests.integration.test_broker_replay import DEAD, kill, open_replay
from worker.core.events import Quarantined
from worker.core.letters import Selection

pytestmark = pytest.mark.broker


@pytest_asyncio.fixture
async def house(vhost: Vhost) -> AsyncIterator[House]:
    async with open_house(vhost) as opened:
        yield opened


def publish(vhost: Vhost, user: str, base: Callable[[str], Draft]) -> list[Kind]:
    """Publish every kind; give those that the broker took."""
    taken = []
    with RawClient(vhost.url(user)) as client:
        for number, kind in enumerate(KINDS):
            draft = kind.change(base(f"k{number}"))
            # What comes without the base's expiration would never become a dead letter.
            if ("expiration" not in base("").properties or draft.raw is None) and client.publish(
                draft
            ) is None:
                taken.append(kind)
    return taken


async def test_a_client_hears_its_replies_among_poisoned_ones_and_keeps_its_connections(
    vhost: Vhost, caplog: pytest.LogCaptureFixture
) -> None:
    def base(name: str) -> Draft:
        return reply(name, route=reply_route("producer", "victim"))

    async with CompletionClient(vhost.url("producer"), name="victim") as client:
        request = Request(tier="standard", body={"model": "m", "messages": []})
        jobs = [await client.submit_request(request) for _ in range(2)]
        before = await asyncio.to_thread(connections, vhost, "producer")
        with RawClient(vhost.url("admin")) as worker:
            await asyncio.to_thread(worker.publish, base(jobs[0].submission_id))
            taken = await asyncio.to_thread(publish, vhost, "admin", base)
            await asyncio.to_thread(worker.publish, base(jobs[1].submission_id))
        for job in jobs:
            assert isinstance(await job.reply(timeout=20), Reply)
        assert before
        assert await asyncio.to_thread(connections, vhost, "producer") == before
    poisoned = sum(REPLY in kind.to for kind in taken)
    assert poisoned > 60
    dropped = [each for each in caplog.records if "unreadable reply" in each.getMessage()]
    assert len(dropped) == poisoned


async def test_a_replay_takes_its_letters_from_among_poison_and_leaves_that_where_it_is(
    house: House,
) -> None:
    def base(name: str) -> Draft:
        return request(name).having(expiration=short(b"1"))

    jobs = await kill(house, 10, prefix="before")
    await asyncio.to_thread(publish, house.vhost, "producer", base)
    async with asyncio.timeout(20):
        while await house.count(QUEUE):
            pass
    poison = await house.count(DEAD) - len(jobs)
    assert poison > 150
    jobs += await kill(house, 10, prefix="after")
    async with open_replay(house) as replay:
        progress = await replay.run(Selection(), ["standard"])
    assert (progress.replayed, progress.unreadable) == (len(jobs), poison)
    assert await house.count(DEAD) == poison
    assert await house.count(QUEUE) == len(jobs)


async def test_the_page_on_quarantine_shows_what_lies_there_and_leaves_it(house: House) -> None:
    page = (ROOT / "docs/quarantine.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    async with open_worker(house) as worker:
        with RawClient(house.vhost.url("producer")) as producer:
            far = request("far").having(timestamp=b"\x80" + b"\x00" * 7)
            await asyncio.to_thread(producer.publish, far)
            await asyncio.to_thread(producer.publish, request("whose").lacking("user_id"))
        await worker.ears.until(lambda: len(worker.ears.of(Quarantined)) == 2)
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        env={**os.environ, "WARREN_OPERATOR_URL": house.vhost.url("operator")},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await running.communicate()
    assert running.returncode == 0
    first, undecodable, second, decoded = output.decode().splitlines()
    assert first.startswith("its properties cannot be decoded {")
    assert "bytes that cannot be decoded" in undecodable
    assert second.startswith("no user_id: the tenant is not known {")
    assert "'correlation_id': 'whose'" in decoded
    assert await house.count("warren.quarantine") == 2
