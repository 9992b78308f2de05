import gzip
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.upstream.body import TooLarge, Undecodable, read
from worker.upstream.wire import HttpxAnswer


class Pieces(httpx.AsyncByteStream):
    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            self.taken += 1
            yield piece


def answer_of(stream: Pieces, encoding: str | None = None) -> HttpxAnswer:
    headers = {} if encoding is None else {"content-encoding": encoding}
    return HttpxAnswer(httpx.Response(200, headers=headers, stream=stream))


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@given(data=st.binary(max_size=5000), size=st.integers(1, 700), limit=st.integers(0, 6000))
@pytest.mark.parametrize("encoding", [None, "gzip", "x-gzip", "identity"])
async def test_a_body_is_whole_or_too_large(
    *, data: bytes, size: int, limit: int, encoding: str | None
) -> None:
    packed = gzip.compress(data) if encoding in {"gzip", "x-gzip"} else data
    answer = answer_of(Pieces(cut(packed, size)), encoding)
    if len(data) > limit:
        with pytest.raises(TooLarge):
            await read(answer, limit=limit)
    else:
        assert await read(answer, limit=limit) == data


async def test_a_bomb_ends_at_its_first_piece() -> None:
    pieces = Pieces(cut(gzip.compress(bytes(50_000_000)), 1000))
    with pytest.raises(TooLarge):
        await read(answer_of(pieces, "gzip"), limit=100_000)
    assert pieces.taken == 1


async def test_a_body_without_end_is_left_at_the_cap() -> None:
    pieces = Pieces([b"x" * 1000] * 1_000)
    with pytest.raises(TooLarge):
        await read(answer_of(pieces), limit=10_000)
    assert pieces.taken == 11


@pytest.mark.parametrize(
    ("pieces", "encoding"),
    [
        ([gzip.compress(b"hello")[:-3]], "gzip"),
        ([b"no gzip at all"], "gzip"),
        ([gzip.compress(b"a"), gzip.compress(b"b")], "gzip"),
        ([], "gzip"),
        ([b"x"], "br"),
        ([b"x"], "gzip, gzip"),
    ],
)
async def test_damaged_or_unasked_packing_is_not_decoded(
    pieces: list[bytes], encoding: str
) -> None:
    with pytest.raises(Undecodable):
        await read(answer_of(Pieces(pieces), encoding), limit=1000)
