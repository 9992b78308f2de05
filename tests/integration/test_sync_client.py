"""The synchronous client on a real broker: forks, exits, and a broker that does not answer."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE

import pytest

from tests.faults.vhost import ROOT, Vhost
from tests.integration.house import WAIT_S

pytestmark = pytest.mark.broker

HEAD = """
import os, signal, sys, threading
from producer_sdk import *
from producer_sdk.sync import CompletionClient
client = CompletionClient(sys.argv[1])
ask = Request.chat(tier="standard", model="m", messages=[])
"""

DYING_PARENT = """
client.submit_request(ask)
if os.fork():
    os.kill(os.getpid(), signal.SIGKILL)
print("forked", flush=True)
sys.stdin.read()
"""

TALKATIVE_CHILDREN = """
client.submit_request(ask)
for _ in range(5):
    child = os.fork()
    if not child:
        client.submit_request(ask)
        sys.exit()
    client.submit_request(ask)
    assert os.waitpid(child, 0)[1] == 0
    client.submit_request(ask)
print(client.name)
"""

OPEN_AT_EXIT = """
client.submit_request(ask, reply=False)
print("submitted", flush=True)
sys.stdin.readline()
"""


async def start(script: str, url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore::DeprecationWarning", "-c", HEAD + script),
        url,
        cwd=ROOT,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )


async def ended(process: asyncio.subprocess.Process, within_s: float = 60) -> tuple[str, str]:
    """Close a program's input, wait for its end, give what it printed and what it complained of."""
    async with asyncio.timeout(within_s):
        output, errors = await process.communicate(b"")  # which closes its input
    assert process.returncode in {0, -signal.SIGKILL}, errors.decode()
    return output.decode(), errors.decode()


def connections(vhost: Vhost) -> int:
    listed = vhost.broker.ctl("list_connections", "user", "vhost", "--no-table-headers", "--silent")
    return [line.split() for line in listed.splitlines()].count(["producer", vhost.name])


def queues(vhost: Vhost) -> dict[str, int]:
    listed = vhost.broker.ctl(
        "list_queues", "-p", vhost.name, "name", "messages", "--no-table-headers", "--silent"
    )
    return {name: int(count) for name, count in (line.split() for line in listed.splitlines())}


async def test_a_parent_that_dies_is_missed_at_once_though_its_child_lives(vhost: Vhost) -> None:
    process = await start(DYING_PARENT, vhost.url("producer"))
    assert process.stdout is not None
    async with asyncio.timeout(WAIT_S):
        assert await process.stdout.readline() == b"forked\n"
        # Had the child kept the sockets, only the heartbeat would tell, after forty seconds.
        while await asyncio.to_thread(connections, vhost):  # noqa: ASYNC110 - only the broker knows
            await asyncio.sleep(0.1)
    assert await ended(process) == ("", "")


async def test_children_that_come_and_go_cost_their_parent_no_connection(vhost: Vhost) -> None:
    process = await start(TALKATIVE_CHILDREN, vhost.url("producer"))
    name, complaints = await ended(process)
    assert complaints == ""
    left = await asyncio.to_thread(queues, vhost)
    assert left["warren.jobs.standard.interactive"] == 16
    assert not [queue for queue in left if queue.startswith("warren.reply.")], name


async def test_a_program_that_ends_while_its_broker_is_mute_ends_all_the_same(vhost: Vhost) -> None:
    mute = asyncio.Event()
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if not mute.is_set():
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up = await asyncio.open_connection("127.0.0.1", vhost.broker.amqp_port)
        for each in (pump(reader, up[1]), pump(up[0], writer)):
            pumps.add(asyncio.create_task(each))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        url = vhost.url("producer").replace(f":{vhost.broker.amqp_port}/", f":{port}/")
        process = await start(OPEN_AT_EXIT, url)
        assert process.stdout is not None
        assert process.stdin is not None
        async with asyncio.timeout(WAIT_S):
            assert await process.stdout.readline() == b"submitted\n"
        mute.set()
        process.stdin.write(b"\n")
        await ended(process, within_s=30)  # the AMQP library may complain
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
