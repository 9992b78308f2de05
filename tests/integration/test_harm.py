"""The harm that the fault kit does to a broker is done, and undone."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from producer_sdk import CompletionClient
from producer_sdk.errors import AccessRefused
from stack.broker import Broker, running
from tests.faults.brokers import (
    delete_queue,
    disk_alarm,
    has_alarm,
    memory_alarm,
    restart,
    revoked,
    rotate_password,
)
from tests.faults.vhost import Vhost


@pytest.mark.parametrize("alarm", [memory_alarm, disk_alarm])
def test_an_alarm_is_in_force_in_the_block_and_gone_after_it(
    broker: Broker, alarm: Callable[[Broker], AbstractContextManager[None]]
) -> None:
    with alarm(broker):
        assert has_alarm(broker)
    assert not has_alarm(broker)


@pytest.mark.parametrize("kill", [False, True], ids=["stop", "kill"])
def test_a_restarted_broker_is_where_it_was_with_what_it_held(
    broker: Broker, vhost: Vhost, restart_broker: Callable[[], Broker], *, kill: bool
) -> None:
    before = vhost.depths()
    restart(broker, restart_broker, kill=kill)
    assert running(broker.folder) == broker
    assert vhost.depths() == before != {}


def test_a_deleted_queue_is_gone(vhost: Vhost) -> None:
    delete_queue(vhost, "warren.asks")
    assert "warren.asks" not in vhost.depths()


async def test_a_tenant_without_its_rights_is_refused_and_with_them_is_not(vhost: Vhost) -> None:
    vhost.add_tenant("harmed")
    with revoked(vhost, "harmed"), pytest.raises(AccessRefused):
        async with CompletionClient(vhost.url("harmed")):
            pass
    async with CompletionClient(vhost.url("harmed")):
        pass


async def test_after_a_rotation_the_old_password_opens_nothing(vhost: Vhost) -> None:
    vhost.add_tenant("rotated")
    before = vhost.url("rotated")
    rotate_password(vhost, "rotated")
    with pytest.raises(AccessRefused):
        async with CompletionClient(before):
            pass
    async with CompletionClient(vhost.url("rotated")):
        pass
