import asyncio
import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.cli.batches.reading import Splitter, numbered_lines, survey


@given(
    data=st.lists(st.sampled_from([b"\n", b"a", b"bc", b"\r", b"defgh"])).map(b"".join),
    cuts=st.lists(st.integers(0, 60), max_size=6).map(sorted),
)
def test_chunks_of_any_size_give_the_same_lines_and_long_ones_only_their_number(
    data: bytes, cuts: list[int]
) -> None:
    splitter = Splitter(longest=6)
    bounds = [0, *cuts, len(data)]
    chunks = [data[a:b] for a, b in pairwise(bounds)]
    found = [line for chunk in chunks for line in splitter.feed(chunk)]
    found += splitter.end()
    wanted = data.split(b"\n")
    if not wanted[-1]:
        wanted.pop()
    numbered = [(n, line if len(line) <= 6 else None) for n, line in enumerate(wanted, 1)]
    assert found == numbered


def test_a_line_that_is_too_long_is_not_kept_in_memory() -> None:
    splitter = Splitter(longest=10)
    for _ in range(1000):
        assert list(splitter.feed(b"x" * 100)) == []
        assert len(splitter._kept) <= 10
    assert list(splitter.feed(b"\nshort\n")) == [(1, None), (2, b"short")]


@pytest.mark.parametrize(("data", "lines"), [(b"", 0), (b"a", 1), (b"a\n", 1), (b"a\n\nb", 3)])
def test_a_survey_counts_lines_and_tells_contents_apart(
    tmp_path: Path, data: bytes, lines: int
) -> None:
    file = tmp_path / "in.jsonl"
    file.write_bytes(data)
    found = survey(file)
    assert found.lines == lines
    file.write_bytes(data + b"x")
    assert survey(file).digest != found.digest


async def read(descriptor: int) -> list[tuple[int, bytes | None]]:
    return [line async for line in numbered_lines(descriptor)]


async def test_a_file_is_read_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_bytes(b"one\ntwo\n" * 100_000 + b"last")
    with file.open("rb") as opened:
        lines = await read(opened.fileno())
    assert len(lines) == 200_001
    assert lines[-1] == (200_001, b"last")


async def test_a_stream_that_pauses_stops_nothing_else() -> None:
    reading, writing = os.pipe()
    lines = asyncio.create_task(read(reading))
    for part in (b"on", b"e\ntw", b"o"):
        os.write(writing, part)
        await asyncio.sleep(0)  # the loop is free: else this would wait for good
    assert not lines.done()
    os.close(writing)
    assert await lines == [(1, b"one"), (2, b"two")]
    os.close(reading)


async def test_what_cannot_be_waited_for_is_read_all_the_same() -> None:
    nothing = os.open("/dev/null", os.O_RDONLY)
    assert await read(nothing) == []
    os.close(nothing)
