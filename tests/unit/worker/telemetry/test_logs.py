import asyncio
import io
import json
import threading
from decimal import Decimal

import pytest

from producer_sdk.wire import Source
from tests.unit.worker.telemetry.samples import (
    CANARY,
    HandClock,
    Paper,
    completed,
    ended,
    every_event,
    failed,
    parked,
    trouble,
)
from worker.core.circuit import State as CircuitState
from worker.core.events import (
    CircuitChanged,
    EndpointHeld,
    Event,
    LeaseRenewed,
    Quarantined,
    TierPaused,
    Trouble,
)
from worker.core.kinds import Kind
from worker.core.model import State
from worker.telemetry.logs import Logs
from worker.telemetry.sink import Level, open_sink


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def written(clock: HandClock, *events: Event, level: Level = "info") -> list[dict[str, object]]:
    paper = Paper(clock, level=level)
    logs = Logs(paper.sink, clock)
    for event in events:
        logs.tell(event)
    return paper.lines


def test_a_completed_job_has_one_canonical_line(clock: HandClock) -> None:
    assert written(clock, ended(completed())) == [
        {
            "at": "2026-01-02T03:04:05.678+00:00",
            "level": "info",
            "event": "job",
            "job": "5" * 32,
            "tenant": "acme",
            "tier": "premium",
            "lane": "bulk",
            "state": "completed",
            "run": 1,
            "attempts": 2,
            "calls": 3,
            "refusals": 1,
            "waited_ms": 1500,
            "upstream_ms": 2500,
            "total_ms": 4000,
            "endpoint": "main",
            "source": "upstream",
            "cost": "0.00025",
            "prompt_tokens": 11,
            "completion_tokens": 22,
        }
    ]


def test_a_failed_job_tells_kind_status_and_endpoint(clock: HandClock) -> None:
    (line,) = written(clock, ended(failed(), State.DEAD_LETTERED))
    assert (line["state"], line["kind"], line["status"], line["endpoint"]) == (
        "dead_lettered",
        "invalid_request",
        400,
        "main",
    )


def test_a_shared_answer_names_its_source(clock: HandClock) -> None:
    (line,) = written(clock, ended(completed(source=Source.SHARED)))
    assert line["source"] == "shared"


@pytest.mark.parametrize(
    ("cost", "source", "told"),
    [
        (Decimal("0.000000025"), Source.UPSTREAM, "0.000000025"),
        (Decimal(0), Source.UPSTREAM, "0"),
        (None, Source.UPSTREAM, None),
        (Decimal("0.25"), Source.SHARED, "0"),
        (None, Source.CACHE, "0"),
    ],
)
def test_a_completed_job_tells_what_its_own_call_cost(
    clock: HandClock, cost: Decimal | None, source: Source, told: str | None
) -> None:
    (line,) = written(clock, ended(completed(source=source, cost=cost)))
    assert line["cost"] == told


def test_retries_are_logged_and_snoozes_only_for_debugging(clock: HandClock) -> None:
    both = (parked(), parked(retry=False))
    (line,) = written(clock, *both)
    assert (line["event"], line["settlement"], line["kind"], line["after_ms"]) == (
        "parked",
        "retry",
        "overloaded",
        10_000,
    )
    assert [line["settlement"] for line in written(clock, *both, level="debug")] == [
        "retry",
        "snooze",
    ]


def test_a_circuit_that_opens_is_a_warning_one_that_closes_is_not_and_its_probe_is_for_debugging(
    clock: HandClock,
) -> None:
    changes = [
        CircuitChanged(endpoint="main", state=state, seconds=4.25 if state == "open" else None)
        for state in (CircuitState.OPEN, CircuitState.HALF_OPEN, CircuitState.CLOSED)
    ]
    told = [
        (line["level"], line["event"], line["endpoint"], line["state"], line["seconds"])
        for line in written(clock, *changes, level="debug")
    ]
    assert told == [
        ("warning", "circuit", "main", "open", 4.25),
        ("debug", "circuit", "main", "half_open", None),
        ("info", "circuit", "main", "closed", None),
    ]


def test_a_circuit_that_flaps_does_not_flood_the_log(clock: HandClock) -> None:
    flaps = [CircuitChanged(endpoint="main", state=CircuitState.OPEN, seconds=1)] * 100
    assert len(written(clock, *flaps)) == 5


def test_every_event_but_steps_seats_calls_and_the_lease_has_its_line(clock: HandClock) -> None:
    names = [line["event"] for line in written(clock, *every_event(), level="debug")]
    assert names == [
        *("job", "job", "job", "parked", "parked"),
        *("held", "circuit", "circuit", "circuit", "quarantined", "paused", "resumed"),
        *("store_lost", "store_back", "called_unrecorded", "recorded_late", "trouble"),
    ]


def test_no_line_holds_content_or_a_key(clock: HandClock) -> None:
    paper = Paper(clock, level="debug")
    logs = Logs(paper.sink, clock)
    for event in every_event():
        logs.tell(event)
    assert CANARY not in paper.text


def test_a_storm_of_the_same_trouble_is_cut_and_counted(clock: HandClock) -> None:
    paper = Paper(clock)
    logs = Logs(paper.sink, clock)
    for _ in range(1000):
        logs.tell(trouble())
    logs.tell(trouble("broker"))
    assert [line["about"] for line in paper.lines] == ["store"] * 5 + ["broker"]
    clock.seconds += 60
    logs.tell(trouble())
    assert paper.lines[-1]["left_out"] == 995


def test_the_end_of_a_storm_is_logged_with_the_next_lease(clock: HandClock) -> None:
    paper = Paper(clock)
    logs = Logs(paper.sink, clock)
    for _ in range(7):
        logs.tell(Quarantined(tier="premium", reason="x"))
    clock.seconds += 61
    logs.tell(LeaseRenewed())
    last = paper.lines[-1]
    assert (last["event"], last["lines"], last["about"], last["count"]) == (
        "left_out",
        "quarantined",
        ["premium", "x"],
        2,
    )


def test_a_long_text_is_cut(clock: HandClock) -> None:
    (line,) = written(clock, Trouble(what="x", about="y", error="z" * 10_000))
    assert len(str(line["error"])) == 500


def test_whatever_a_text_holds_a_line_is_one_line_of_ascii(clock: HandClock) -> None:
    paper = Paper(clock)
    nasty = 'a\nb\u2028\x1b[31m\ud800"\\'
    Logs(paper.sink, clock).tell(TierPaused(tier=nasty, lane="bulk", reason=nasty, seconds=1.0))
    assert paper.text.count("\n") == 1
    assert paper.text.isascii()
    assert json.loads(paper.text)["reason"] == nasty


@pytest.mark.parametrize("name", ["\x1b[2J", "\x9b2J", "a\nb", "\u202e"])
def test_a_line_for_people_obeys_no_control_character(clock: HandClock, name: str) -> None:
    paper = Paper(clock, style="console")
    Logs(paper.sink, clock).tell(EndpointHeld(endpoint=name, kind=Kind.TIMEOUT, seconds=1))
    assert paper.text.endswith("\n")
    assert paper.text[:-1].isprintable()
    assert "held" in paper.text


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


def test_auto_writes_for_people_on_a_terminal_and_json_elsewhere(clock: HandClock) -> None:
    for stream, json_lines in ((Terminal(), False), (io.BytesIO(), True)):
        open_sink(clock, style="auto", stream=stream).info("hello", n=1)
        assert stream.getvalue().startswith(b"{") is json_lines


class Counting(io.BytesIO):
    writes = 0

    def write(self, data: object) -> int:
        self.writes += 1
        return super().write(data)  # type: ignore[arg-type]  # a stream takes any buffer


def test_a_line_is_one_write(clock: HandClock) -> None:
    stream = Counting()
    sink = open_sink(clock, stream=stream)
    for number in range(3):
        sink.info("hello", number=number)
    assert stream.writes == 3


class Pipe(io.BytesIO):
    """A stream that counts the writes, and may be broken."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.broken = False

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # bytes alone come here
        if self.broken:
            raise BrokenPipeError
        self.writes += 1
        return super().write(data)


async def test_what_the_loop_writes_in_one_turn_goes_out_together_at_its_end(
    clock: HandClock,
) -> None:
    pipe = Pipe()
    sink = open_sink(clock, stream=pipe)
    for number in range(3):
        sink.info("job", number=number)
    assert pipe.writes == 0
    await asyncio.sleep(0)
    assert pipe.writes == 1
    numbers = [json.loads(line)["number"] for line in pipe.getvalue().splitlines()]
    assert numbers == [0, 1, 2]


async def test_a_warning_goes_out_at_once_behind_what_was_told_before(clock: HandClock) -> None:
    pipe = Pipe()
    sink = open_sink(clock, stream=pipe)
    sink.info("job")
    sink.warning("trouble")
    assert [json.loads(line)["event"] for line in pipe.getvalue().splitlines()] == [
        "job",
        "trouble",
    ]
    await asyncio.sleep(0)
    assert pipe.getvalue().count(b"\n") == 2


async def test_another_thread_writes_at_once(clock: HandClock) -> None:
    pipe = Pipe()
    sink = open_sink(clock, stream=pipe)
    sink.info("job")
    await asyncio.to_thread(sink.info, "scrape")
    assert pipe.getvalue().count(b"\n") == 2


async def test_who_writes_after_the_stream_broke_hears_of_it(clock: HandClock) -> None:
    pipe = Pipe()
    sink = open_sink(clock, stream=pipe)
    pipe.broken = True
    sink.info("job")
    await asyncio.sleep(0)
    with pytest.raises(BrokenPipeError):
        sink.info("job")
    pipe.broken = False
    sink.info("next")  # whoever was not told of it is not kept from writing
    await asyncio.sleep(0)
    assert json.loads(pipe.getvalue())["event"] == "next"


async def test_what_is_told_while_a_line_is_written_is_written_too(clock: HandClock) -> None:
    class Telling(io.BytesIO):
        """As when a write lets garbage be collected that a library has something to say of."""

        told = False

        def flush(self) -> None:
            if not self.told:
                self.told = True
                sink.warning("library")

    stream = Telling()
    sink = open_sink(clock, stream=stream)
    writing = threading.Thread(target=sink.warning, args=("trouble",), daemon=True)
    writing.start()
    await asyncio.to_thread(writing.join, 5)
    events = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert events == ["trouble", "library"]
