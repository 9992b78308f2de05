import logging
from collections.abc import Iterator

import pytest

from tests.unit.worker.telemetry.samples import CANARY, HandClock, Paper
from worker.telemetry.libraries import _Lines, library_lines


class Content:
    def __repr__(self) -> str:
        return CANARY


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def paper(clock: HandClock) -> Iterator[Paper]:
    paper = Paper(clock)
    with library_lines(paper.sink, clock):
        yield paper


log = logging.getLogger("some.library")


def test_a_librarys_warning_becomes_a_line(paper: Paper) -> None:
    log.warning("no frames in %r seconds from %s", 5, "rabbit")
    log.info("nobody asked")
    (line,) = paper.lines
    assert (line["event"], line["level"], line["logger"], line["text"]) == (
        "library",
        "warning",
        "some.library",
        "no frames in 5 seconds from rabbit",
    )


def test_an_error_tells_its_type_and_where_it_passed_but_not_its_text(paper: Paper) -> None:
    try:
        int(CANARY)
    except ValueError:
        log.exception("it failed")
    (line,) = paper.lines
    assert (line["level"], line["error"]) == ("error", "ValueError")
    assert "test_an_error_tells" in line["trace"][-1]
    assert CANARY not in paper.text


@pytest.mark.parametrize(
    ("message", "args"),
    [
        ("lost %r", (Content(),)),
        ("lost %s of %s", (Content(), b"sesame-4711")),
        ("lost %(what)s", ({"what": Content()},)),
        (Content(), ()),
        ("never retrieved\nfuture: <Task exception=ValueError('sesame-4711')>", ()),
        ("connecting to amqp://user:sesame-4711@host/", ()),
        ("connecting to %s", ("amqp://user:sesame-4711@host/",)),
    ],
)
def test_no_line_of_a_library_shows_content(
    paper: Paper, message: object, args: tuple[object, ...]
) -> None:
    log.error(message, *args)
    assert len(paper.lines) == 1
    assert CANARY not in paper.text


@pytest.mark.parametrize("template", ["too few %s %s", "no number %d", "no name %(x)s"])
def test_a_record_that_cannot_be_formatted_is_still_told(paper: Paper, template: str) -> None:
    record = logging.LogRecord("x", logging.ERROR, "", 0, template, (Content(),), None)
    (ours,) = (each for each in logging.getLogger().handlers if isinstance(each, _Lines))
    ours.handle(record)  # pytest's own handlers would raise
    (line,) = paper.lines
    assert line["text"] == template


def test_a_storm_of_a_library_is_cut_and_counted(paper: Paper, clock: HandClock) -> None:
    for number in range(100):
        log.warning("lost %d", number)
    assert len(paper.lines) == 5
    clock.seconds += 60
    log.warning("lost %d", 100)
    assert paper.lines[-1]["left_out"] == 95


def test_after_the_context_nothing_is_routed_any_more(clock: HandClock) -> None:
    paper = Paper(clock)
    with library_lines(paper.sink, clock):
        pass
    log.warning("too late")
    assert paper.text == ""
