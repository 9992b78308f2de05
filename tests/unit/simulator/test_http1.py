import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from simulator import How, Simulator, rule
from tests.unit.simulator.requests import CHAT, chat


async def connect(sim: Simulator) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", sim.port)


async def read_response(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head, await reader.readexactly(length)


@pytest.fixture
async def tcp(sim: Simulator) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await connect(sim)
    yield reader, writer
    writer.close()


async def test_a_plan_in_the_user_field_fails_twice_and_then_works(
    sim: Simulator, http1: httpx.AsyncClient
) -> None:
    asked = chat(user="sim:503,429(retry-after=2)")
    responses = [await http1.post(CHAT, json=asked) for _ in range(3)]
    assert [response.status_code for response in responses] == [503, 429, 200]
    assert responses[1].headers["retry-after"] == "2"
    assert [call.fault for call in sim.calls] == ["503", "429(retry-after=2)", "ok"]
    assert {call.sha256 for call in sim.calls} == {sim.calls[0].sha256}


async def test_a_record_tells_who_called_what_and_how_it_ended(
    sim: Simulator, http1: httpx.AsyncClient
) -> None:
    headers = {"x-client-request-id": "abc", "x-client-name": "worker-1"}
    await http1.post(f"{CHAT}?x=1", json=chat(), headers=headers)
    await sim.wait_for(lambda calls: calls[0].over)
    call = sim.calls[0]
    assert (call.n, call.id, call.client) == (1, "abc", "worker-1")
    assert (call.path, call.model) == (CHAT, "gpt-small")
    assert (call.http, call.fault, call.status, call.how) == ("1.1", "ok", 200, How.DONE)
    assert call.ended_mono is not None
    assert call.ended_mono >= call.mono


async def test_requests_share_a_kept_connection(sim: Simulator, http1: httpx.AsyncClient) -> None:
    for _ in range(5):
        await http1.post(CHAT, json=chat())
    assert (sim.stats.connections_open, sim.stats.connections_total) == ({"1.1": 1}, {"1.1": 1})


async def test_a_chunked_body_is_read_whole(sim: Simulator, http1: httpx.AsyncClient) -> None:
    body = json.dumps(chat("x" * 300_000)).encode()

    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 50_000):
            yield body[start : start + 50_000]

    response = await http1.post(CHAT, content=parts())
    same = await http1.post(CHAT, content=body)
    assert response.status_code == same.status_code == 200
    assert sim.calls[0].sha256 == sim.calls[1].sha256


async def test_pipelined_requests_are_answered_in_order(
    tcp: tuple[asyncio.StreamReader, asyncio.StreamWriter], sim: Simulator, raw_chat: bytes
) -> None:
    reader, writer = tcp
    sim.latency({"default": "uniform(0,0.02)"})
    writer.write(raw_chat * 20)
    ids = [json.loads((await read_response(reader))[1])["id"] for _ in range(20)]
    assert [int(name.rpartition("-")[2]) for name in ids] == list(range(1, 21))
    assert sim.stats.max_in_flight == 1


async def test_a_request_in_single_bytes_is_answered(
    tcp: tuple[asyncio.StreamReader, asyncio.StreamWriter], raw_chat: bytes
) -> None:
    reader, writer = tcp
    for byte in raw_chat:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)
    assert b" 200 OK" in (await read_response(reader))[0]


async def test_what_is_no_http_gets_a_400_and_the_connection_closes(
    tcp: tuple[asyncio.StreamReader, asyncio.StreamWriter], sim: Simulator
) -> None:
    reader, writer = tcp
    writer.write(b"\x16\x03\x01 hello\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 400")
    assert sim.calls == []


async def test_a_client_that_goes_away_is_noticed_while_its_call_waits(
    sim: Simulator, http1: httpx.AsyncClient
) -> None:
    sim.script(rule("hang"))
    waiting = asyncio.create_task(http1.post(CHAT, json=chat()))
    await sim.wait_for(lambda calls: len(calls) == 1)
    assert not sim.calls[0].over
    waiting.cancel()
    await sim.wait_for(lambda calls: calls[0].how is How.CLIENT_CLOSED)
    assert sim.calls[0].status is None
    assert sim.stats.closed_by_client == 1


async def test_latency_is_waited_out_and_can_be_cut_by_the_client(
    sim: Simulator, http1: httpx.AsyncClient
) -> None:
    sim.latency({"gpt-small": "fixed(60)"})
    waiting = asyncio.create_task(http1.post(CHAT, json=chat()))
    other = await http1.post(CHAT, json=chat() | {"model": "other"})
    assert other.status_code == 200
    waiting.cancel()
    await sim.wait_for(lambda calls: len(calls) == 2 and all(call.over for call in calls))
    assert {call.how for call in sim.calls} == {How.DONE, How.CLIENT_CLOSED}


async def test_reset_closes_with_rst_before_any_byte(
    sim: Simulator, tcp: tuple[asyncio.StreamReader, asyncio.StreamWriter], raw_chat: bytes
) -> None:
    reader, writer = tcp
    sim.script(rule("reset"))
    writer.write(raw_chat)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    assert (sim.calls[0].how, sim.calls[0].status) == (How.RESET, None)


async def test_reset_body_sends_half_of_the_body_and_then_rst(
    sim: Simulator, tcp: tuple[asyncio.StreamReader, asyncio.StreamWriter], raw_chat: bytes
) -> None:
    reader, writer = tcp
    sim.script(rule("reset_body"))
    writer.write(raw_chat)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    assert len(await reader.readexactly(length // 2)) == length // 2
    with pytest.raises(ConnectionResetError):
        await reader.read()
    assert (sim.calls[0].how, sim.calls[0].status) == (How.RESET, 200)


async def test_hang_body_sends_half_of_the_body_and_stays_open(
    sim: Simulator, tcp: tuple[asyncio.StreamReader, asyncio.StreamWriter], raw_chat: bytes
) -> None:
    reader, writer = tcp
    sim.script(rule("hang_body"))
    writer.write(raw_chat)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    await reader.readexactly(length // 2)
    assert not sim.calls[0].over
    writer.close()
    await sim.wait_for(lambda calls: calls[0].how is How.CLIENT_CLOSED)
    assert sim.calls[0].status == 200


async def test_drip_sends_the_whole_body_byte_by_byte(
    sim: Simulator, http1: httpx.AsyncClient
) -> None:
    sim.script(rule("drip(0.0001)"))
    parts = []
    async with http1.stream("POST", CHAT, json=chat()) as response:
        parts = [part async for part in response.aiter_raw()]
    assert json.loads(b"".join(parts))["choices"]
    assert len(parts) > 10


async def test_a_redirect_points_to_a_path_that_would_answer_and_is_logged(
    sim: Simulator, http1: httpx.AsyncClient
) -> None:
    sim.script(rule("redirect", contains="hi"))
    first = await http1.post(CHAT, json=chat())
    assert first.status_code == 302
    assert [call.path for call in sim.calls] == [CHAT]
    second = await http1.get(first.headers["location"])
    assert second.status_code == 200
    assert sim.calls[1].path == first.headers["location"]


@pytest.mark.parametrize(("fault", "status"), [("204", 204), ("empty", 200)])
async def test_a_connection_lives_on_after_a_response_without_body(
    sim: Simulator, http1: httpx.AsyncClient, fault: str, status: int
) -> None:
    sim.script(rule(fault))
    first, second = [await http1.post(CHAT, json=chat()) for _ in range(2)]
    assert (first.status_code, first.content, second.status_code) == (status, b"", 200)
    assert (sim.stats.connections_open, sim.stats.connections_total) == ({"1.1": 1}, {"1.1": 1})


async def test_goaway_is_connection_close(sim: Simulator, http1: httpx.AsyncClient) -> None:
    sim.script(rule("goaway"))
    first, second = [await http1.post(CHAT, json=chat()) for _ in range(2)]
    assert first.headers["connection"] == "close"
    assert "connection" not in second.headers
    assert (first.status_code, second.status_code) == (200, 200)


async def test_a_request_pipelined_behind_the_last_one_is_no_call(
    tcp: tuple[asyncio.StreamReader, asyncio.StreamWriter], sim: Simulator, raw_chat: bytes
) -> None:
    reader, writer = tcp
    sim.script(rule("goaway"))
    writer.write(raw_chat * 2)
    assert (await reader.read()).count(b"HTTP/1.1") == 1
    assert len(sim.calls) == 1


async def test_a_gzip_bomb_expands_in_the_client(sim: Simulator, http1: httpx.AsyncClient) -> None:
    sim.script(rule("gzip_bomb(2000000)"))
    assert len((await http1.post(CHAT, json=chat())).content) == 2_000_000


async def test_a_client_that_leaves_a_big_response_unread_has_closed_it(
    sim: Simulator, tcp: tuple[asyncio.StreamReader, asyncio.StreamWriter], raw_chat: bytes
) -> None:
    reader, writer = tcp
    sim.script(rule("big(50000000)"))
    writer.write(raw_chat)
    await reader.readuntil(b"\r\n\r\n")
    assert not sim.calls[0].over
    writer.transport.abort()
    await sim.wait_for(lambda calls: calls[0].how is How.CLIENT_CLOSED)


async def test_another_key_is_refused_and_consumes_no_plan() -> None:
    async with (
        Simulator(require_key="right", rules=[rule("503")]) as sim,
        httpx.AsyncClient(base_url=sim.url, trust_env=False) as client,
    ):
        for key in ("wrong", "righ", "right "):
            headers = {"authorization": f"Bearer {key}x"}
            assert (await client.post(CHAT, json=chat(), headers=headers)).status_code == 401
        assert (await client.post(CHAT, json=chat())).status_code == 401
        headers = {"authorization": "Bearer right"}
        assert (await client.post(CHAT, json=chat(), headers=headers)).status_code == 503
        assert [call.fault for call in sim.calls] == ["401"] * 4 + ["503"]


async def test_a_key_in_a_file_is_asked_for_as_the_file_has_it_now(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("old\n")
    async with (
        Simulator(require_key=key) as sim,
        httpx.AsyncClient(base_url=sim.url, trust_env=False) as client,
    ):
        old, new = ({"authorization": f"Bearer {each}"} for each in ("old", "new"))
        assert (await client.post(CHAT, json=chat(), headers=old)).status_code == 200
        key.write_text("new\n")
        assert (await client.post(CHAT, json=chat(), headers=old)).status_code == 401
        assert (await client.post(CHAT, json=chat(), headers=new)).status_code == 200


async def test_a_bad_plan_in_the_user_field_is_told_to_the_client(
    http1: httpx.AsyncClient,
) -> None:
    response = await http1.post(CHAT, json=chat(user="sim:no_such"))
    assert response.status_code == 400
    assert "no_such" in response.json()["error"]["message"]


async def test_an_upgrade_to_h2c_is_refused(
    tcp: tuple[asyncio.StreamReader, asyncio.StreamWriter], sim: Simulator, raw_chat: bytes
) -> None:
    reader, writer = tcp
    upgrade = b"host: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n"
    writer.write(raw_chat.replace(b"host: x\r\n", upgrade))
    assert (await reader.read()).startswith(b"HTTP/1.1 400")
    assert sim.calls == []


async def test_expect_is_ignored(
    tcp: tuple[asyncio.StreamReader, asyncio.StreamWriter], raw_chat: bytes
) -> None:
    reader, writer = tcp
    writer.write(raw_chat.replace(b"host: x\r\n", b"host: x\r\nexpect: 100-continue\r\n"))
    assert (await read_response(reader))[0].startswith(b"HTTP/1.1 200 OK")


async def test_stopping_drops_a_connection_that_never_said_anything() -> None:
    async with Simulator() as sim:
        reader, writer = await connect(sim)
        async with httpx.AsyncClient(base_url=sim.url, trust_env=False) as client:
            await client.post(CHAT, json=chat())  # by now the silent connection is accepted as well
        await sim.stop()
        assert await reader.read() == b""
        writer.close()


async def test_waiting_pipelined_requests_of_a_gone_client_are_no_calls(
    tcp: tuple[asyncio.StreamReader, asyncio.StreamWriter], sim: Simulator, raw_chat: bytes
) -> None:
    _, writer = tcp
    sim.script(rule("hang"))
    writer.write(raw_chat * 3)
    await sim.wait_for(lambda calls: len(calls) == 1)
    writer.transport.abort()
    await sim.wait_for(lambda calls: calls[0].over)
    assert [call.how for call in sim.calls] == [How.CLIENT_CLOSED]
    assert sim.stats.in_flight == 0
