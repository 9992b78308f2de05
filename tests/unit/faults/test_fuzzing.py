"""What is fuzzed by the million elsewhere, in small; and that the fuzzing would notice."""

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.fuzzing import SORTS, fuzz
from tests.faults.noise import MARK
from worker.broker.incoming import Incoming
from worker.errors import Unreadable
from worker.upstream import endpoint


@pytest.mark.parametrize("sort", SORTS)
@given(seed=st.integers(min_value=0, max_value=2**32))
def test_every_case_ends_as_it_may(sort: str, seed: int) -> None:
    fuzzed = asyncio.run(fuzz(sort, seed, 5))
    assert fuzzed.told == []


@pytest.mark.parametrize(
    ("sort", "ends"),
    [
        ("envelopes", {"job", "unreadable"}),
        ("answers", {"completed", "bad_response", "rate_limited", "response_too_large"}),
        ("lines", {"line", "invalid_json", "invalid_utf8", "line_too_long"}),
    ],
)
async def test_the_noise_reaches_every_kind_of_end_and_a_seed_always_the_same(
    sort: str, ends: set[str]
) -> None:
    one, again = await fuzz(sort, 1, 300), await fuzz(sort, 1, 300)
    assert one == again
    assert one.ends.keys() >= ends
    assert sum(one.ends.values()) == 300


async def test_a_reason_that_quotes_and_an_error_that_nobody_declared_are_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def quoting(_: Incoming, **__: object) -> None:
        raise Unreadable(f"not {MARK}")

    def failing(_: Mapping[str, str], **__: object) -> None:
        raise OverflowError

    monkeypatch.setattr("tests.faults.envelopes.read", quoting)
    monkeypatch.setattr(endpoint, "retry_after", failing)
    assert (await fuzz("envelopes", 1, 20)).wrong == 20
    assert (await fuzz("answers", 1, 100)).wrong > 50
