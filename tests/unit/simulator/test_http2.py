import asyncio
import json
import ssl
from pathlib import Path

import httpx
import pytest
from h2.connection import H2Connection
from pyqwest import Client, FullResponse, StreamError

from simulator import How, Simulator, rule, tls_context
from tests.unit.simulator.requests import CHAT, chat


async def post(client: Client, sim: Simulator, text: str = "hi", **fields: object) -> FullResponse:
    body = json.dumps(chat(text, **fields)).encode()
    headers = {"content-type": "application/json"}
    return await client.post(sim.url + CHAT, headers=headers, content=body)


async def test_cleartext_http2_is_recognized_by_its_preface(sim: Simulator, http2: Client) -> None:
    response = await post(http2, sim)
    assert response.status == 200
    assert json.loads(response.content)["model"] == "gpt-small"
    assert (sim.calls[0].http, sim.calls[0].how) == ("2", How.DONE)


async def test_a_preface_in_parts_is_still_http2(sim: Simulator) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    for part in (b"PRI * HT", b"TP/2.0\r\n\r\nSM\r\n\r\n"):
        writer.write(part)
        for _ in range(5):  # turns of the loop in which the simulator reads this part alone
            await asyncio.sleep(0)
    frame = await reader.readexactly(9)
    assert frame[3] == 4  # SETTINGS
    writer.close()


async def test_200_calls_are_in_flight_on_one_connection(sim: Simulator, http2: Client) -> None:
    await post(http2, sim)  # the client has our settings before the crowd comes
    sim.script(rule("hang", contains="crowd"))
    tasks = [asyncio.create_task(post(http2, sim, f"crowd {n}")) for n in range(200)]
    await sim.wait_for(lambda calls: len(calls) == 201)
    assert sim.stats.in_flight == 200
    assert (sim.stats.connections_open, sim.stats.connections_total) == ({"2": 1}, {"2": 1})
    for task in tasks:
        task.cancel()
    await sim.wait_for(lambda calls: all(call.over for call in calls))
    assert [call.how for call in sim.calls[1:]] == [How.CLIENT_CLOSED] * 200


async def test_a_cancelled_call_leaves_its_neighbours_alone(sim: Simulator, http2: Client) -> None:
    sim.script(rule("hang", contains="lonely"), rule("slow(0.2)"))
    lonely = asyncio.create_task(post(http2, sim, "lonely"))
    slow = asyncio.create_task(post(http2, sim, "slow"))
    await sim.wait_for(lambda calls: len(calls) == 2)
    lonely.cancel()
    await sim.wait_for(lambda calls: any(call.how is How.CLIENT_CLOSED for call in calls))
    assert (await slow).status == 200
    assert (sim.stats.connections_open, sim.stats.connections_total) == ({"2": 1}, {"2": 1})


async def test_the_answer_to_a_cancelled_call_is_not_sent_later(
    sim: Simulator, http2: Client
) -> None:
    broken: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
    sim.script(rule("slow(0.05)", contains="gone"), rule("slow(0.1)"))
    gone = asyncio.create_task(post(http2, sim, "gone"))
    await sim.wait_for(lambda calls: len(calls) == 1)
    gone.cancel()
    await sim.wait_for(lambda calls: calls[0].over)
    assert (await post(http2, sim, "later")).status == 200  # the first answer's time has passed
    assert broken == []


async def test_a_goaway_every_100_streams_fails_none_of_1000_calls(http2: Client) -> None:
    async with Simulator(goaway_every=100) as sim:
        sim.latency({"default": "uniform(0,0.01)"})
        numbers = iter(range(1000))

        statuses: list[int] = []

        async def work() -> None:
            statuses.extend([(await post(http2, sim, str(n))).status for n in numbers])

        await asyncio.gather(*(work() for _ in range(50)))
        assert statuses == [200] * 1000
        assert len(sim.calls) == 1000
        assert sim.stats.connections_total["2"] >= 10


async def test_the_fault_goaway_serves_its_call_and_then_a_new_connection(
    sim: Simulator, http2: Client
) -> None:
    sim.script(rule("goaway"))
    sim.latency({"default": "fixed(0.02)"})
    statuses = [(await post(http2, sim)).status for _ in range(2)]
    assert statuses == [200, 200]
    assert sim.stats.connections_total == {"2": 2}


async def test_a_large_response_arrives_whole(sim: Simulator, http2: Client) -> None:
    sim.script(rule("big(3000000)"))
    assert len(json.loads((await post(http2, sim)).content)["padding"]) == 3_000_000


async def test_a_large_request_arrives_whole(sim: Simulator, http2: Client) -> None:
    response = await post(http2, sim, "x" * 5_000_000)
    assert response.status == 200
    assert json.loads(response.content)["usage"]["prompt_tokens"] == 1_250_001


async def test_the_same_request_gives_the_same_text_over_either_version(
    sim: Simulator, http2: Client, http1: httpx.AsyncClient
) -> None:
    body = json.dumps(chat()).encode()
    over2 = json.loads((await http2.post(sim.url + CHAT, content=body)).content)
    over1 = (await http1.post(CHAT, content=body)).json()
    assert over1["choices"] == over2["choices"]


@pytest.mark.parametrize(("fault", "status"), [("reset", None), ("reset_body", 200)])
async def test_a_reset_is_a_stream_error_and_the_connection_lives_on(
    sim: Simulator, http2: Client, fault: str, status: int | None
) -> None:
    sim.script(rule(fault))
    with pytest.raises(StreamError):
        await post(http2, sim)
    assert (sim.calls[0].how, sim.calls[0].status) == (How.RESET, status)
    assert len(sim.calls) == 1
    assert (await post(http2, sim)).status == 200
    assert (sim.stats.connections_open, sim.stats.connections_total) == ({"2": 1}, {"2": 1})


@pytest.mark.parametrize(("fault", "status"), [("204", 204), ("empty", 200), ("503", 503)])
async def test_a_response_with_little_in_it_ends_its_stream(
    sim: Simulator, http2: Client, fault: str, status: int
) -> None:
    sim.script(rule(fault))
    assert (await post(http2, sim)).status == status
    assert sim.stats.in_flight == 0


async def test_drip_ends_its_stream_with_the_whole_body(sim: Simulator, http2: Client) -> None:
    sim.script(rule("drip(0.0001)"))
    assert json.loads((await post(http2, sim)).content)["choices"]


async def test_a_data_frame_of_no_stream_ends_the_connection(sim: Simulator) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
    await reader.read()
    writer.close()
    assert sim.calls == []


async def test_alpn_chooses_the_version_under_tls(certificate: tuple[Path, Path]) -> None:
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    async with Simulator(tls=tls_context(*certificate)) as sim:
        for modern in (False, True):
            async with httpx.AsyncClient(
                http2=modern, verify=trusted, trust_env=False, base_url=sim.url
            ) as client:
                response = await client.post(CHAT, json=chat())
                assert response.status_code == 200
                assert response.http_version == ("HTTP/2" if modern else "HTTP/1.1")
                big = await client.post(CHAT, json=chat(user="sim:big(3000000)!"))
                assert len(big.json()["padding"]) == 3_000_000
        assert [call.http for call in sim.calls] == ["1.1", "1.1", "2", "2"]


async def test_a_reset_is_seen_under_tls(certificate: tuple[Path, Path]) -> None:
    trusted = ssl.create_default_context(cafile=str(certificate[0]))
    async with (
        Simulator(tls=tls_context(*certificate), rules=[rule("reset")]) as sim,
        httpx.AsyncClient(verify=trusted, trust_env=False, base_url=sim.url) as client,
    ):
        with pytest.raises(httpx.NetworkError):
            await client.post(CHAT, json=chat())
        assert sim.calls[0].how is How.RESET


async def test_two_streams_larger_than_the_windows_share_a_connection(
    sim: Simulator, http2: Client
) -> None:
    sim.script(rule("big(20000000)!"))
    responses = await asyncio.gather(post(http2, sim, "a"), post(http2, sim, "b"))
    assert all(len(response.content) > 20_000_000 for response in responses)
    assert sim.stats.in_flight == 0


async def test_a_request_that_is_taken_back_in_the_same_packet_is_logged_as_closed(
    sim: Simulator,
) -> None:
    client = H2Connection()
    client.initiate_connection()
    fields = [(":method", "POST"), (":path", CHAT), (":scheme", "http"), (":authority", "x")]
    client.send_headers(1, fields)
    client.send_data(1, json.dumps(chat()).encode(), end_stream=True)
    client.reset_stream(1)
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    writer.write(client.data_to_send())
    await sim.wait_for(lambda calls: len(calls) == 1 and calls[0].over)
    assert (sim.calls[0].how, sim.calls[0].status) == (How.CLIENT_CLOSED, None)
    writer.write_eof()
    await reader.read()
    writer.close()


async def test_a_client_that_says_goaway_has_closed_its_calls(sim: Simulator) -> None:
    client = H2Connection()
    client.initiate_connection()
    fields = [(":method", "POST"), (":path", CHAT), (":scheme", "http"), (":authority", "x")]
    client.send_headers(1, fields)
    client.send_data(1, json.dumps(chat(user="sim:hang")).encode(), end_stream=True)
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    writer.write(client.data_to_send())
    await sim.wait_for(lambda calls: len(calls) == 1)
    client.close_connection()
    writer.write(client.data_to_send())
    await reader.read()
    writer.close()
    assert sim.calls[0].how is How.CLIENT_CLOSED


async def test_a_goaway_names_the_last_stream_and_later_ones_are_no_calls() -> None:
    async with Simulator(goaway_every=2) as sim:
        client = H2Connection()
        client.initiate_connection()
        fields = [(":method", "POST"), (":path", CHAT), (":scheme", "http"), (":authority", "x")]
        for number in (1, 3, 5):
            client.send_headers(number, fields)
            client.send_data(number, json.dumps(chat(str(number))).encode(), end_stream=True)
        reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
        writer.write(client.data_to_send())
        seen = await reader.read()
        writer.close()
        assert [call.how for call in sim.calls] == [How.DONE, How.DONE]
        # Type 7 on stream 0, eight bytes: last stream 3, no error.
        assert b"\0\0\x08\x07\0\0\0\0\0" + b"\0\0\0\x03" + bytes(4) in seen
