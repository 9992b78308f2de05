"""The user that docs/stores.md makes for Warren may do all that a worker, an operator and the doctor do, and no more."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from stack.resp import ask
from tests.contract.redis_fleet import options_of
from tests.contract.world import ANSWER, BEGAN, Ear, HandClock, complete, make_job
from tests.faults.room import RedisRoom
from tests.faults.vhost import ROOT
from worker.core.lanes import Orders
from worker.core.limits import Taken, charges
from worker.core.rations import Permit
from worker.core.spend import Account, Cap, Per, Reserved
from worker.store.redis.archive import RedisArchive
from worker.store.redis.inspection import inspect
from worker.store.redis.laneorders import RedisOrderBook
from worker.store.redis.options import RedisOptions
from worker.store.redis.spend import RedisSpendBook
from worker.store.redis.store import RedisStore

PAGE = (ROOT / "docs/stores.md").read_text(encoding="utf-8")


@pytest.fixture
def options(redis_room: RedisRoom) -> Iterator[RedisOptions]:
    (line,) = re.findall(r"`user warren on >PASSWORD ([^`]+)`", PAGE)
    rules = line.replace("{warren}", f"{{{redis_room.prefix}}}").split()
    redis_room.redis.ask("ACL", "SETUSER", "warren", "on", ">canary", *rules)
    yield replace(options_of(redis_room), username="warren", password="canary")
    redis_room.redis.ask("ACL", "DELUSER", "warren")


async def test_it_may_do_what_a_worker_and_an_operator_do(options: RedisOptions) -> None:
    ear = Ear()
    async with RedisStore(options, clock=HandClock(), listener=ear) as store:
        await complete(store.ledger, make_job())
        await store.cache.put("acme:c1", ANSWER)
        assert await store.cache.get("acme:c1") is not None
        assert isinstance(await store.rationing.permit("small.bulk", per_minute=60), Permit)
        cap = Cap(account=Account(), per=Per.DAY, usd=Decimal(1))
        held = await store.spend.reserve("r1", [cap], Decimal(1))
        assert isinstance(held, Reserved)
        await store.spend.settle(held, Decimal("0.5"))
        assert [each.spent for each in RedisSpendBook(options).standing()] == [Decimal("0.5")]
        account = charges("alpha", requests_per_minute=60, tokens_per_minute=9000, tokens=100)
        taken = await store.limits.take(account)
        assert isinstance(taken, Taken)
        await store.limits.settle(taken, (1, 50))
        RedisOrderBook(options).change("small.bulk", lambda _: Orders(paused=True), now=BEGAN)
        assert (await store.lane_orders.orders())["small.bulk"].paused
        await store.ledger.released("nobody's", at_most=timedelta(seconds=1))
        assert await store.renew()
        await store.sweep()
        assert len(list(RedisArchive(options).jobs())) == 1
    assert inspect(options).fsync == "everysec"
    assert not [event for event in ear.heard if type(event).__name__ == "Trouble"]


@pytest.mark.parametrize(
    "command", [("SET", "another's", "1"), ("FLUSHALL",), ("CONFIG", "SET", "appendonly", "no")]
)
def test_it_may_touch_nothing_else(
    options: RedisOptions, redis_room: RedisRoom, command: tuple[str, ...]
) -> None:
    del options
    with pytest.raises(Exception, match="NOPERM"):
        ask(redis_room.redis.port, "canary", *command, user="warren")
