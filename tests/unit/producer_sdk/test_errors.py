import copy
import inspect
import pickle
from datetime import UTC, datetime

import pytest

import producer_sdk
from producer_sdk import errors
from producer_sdk.errors import WarrenError

TREE = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, WarrenError)
]
SAMPLES: list[WarrenError] = [
    errors.InvalidSetting("s"),
    errors.PublishUnconfirmed(submission_id="s1", publish_timeout_s=30, obstacle="no confirm came"),
    errors.PublishUnsent(submission_id="s1", publish_timeout_s=30, obstacle="down"),
    errors.TierUnknown(submission_id="s1", tier="gold", lane="bulk"),
    errors.QueueFull(submission_id="s1", tier="gold"),
    errors.PublishRefused("text", submission_id="s1"),
    errors.JobFailed("text", submission_id="s1", job_id="j1", run=2, kind="k", status=500),
    errors.DeadlineExceeded.at(datetime(2026, 1, 1, tzinfo=UTC), submission_id="s1", job_id="j1"),
    errors.ReplyTimeout(submission_id="s1", timeout_s=1.5),
    errors.ReplyNotRequested(submission_id="s1"),
    errors.AccessRefused("text"),
    errors.TopologyMissing("text"),
]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling_and_copying(error: WarrenError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own bytes
        assert type(twin) is type(error)
        assert (str(twin), vars(twin)) == (str(error), vars(error))


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_every_error_is_exported_and_drawn_in_the_tree(kind: type[WarrenError]) -> None:
    assert kind.__name__ in producer_sdk.__all__
    assert errors.__doc__ is not None
    line = next(line for line in errors.__doc__.splitlines() if f" {kind.__name__}" in f" {line}")
    builtin = {base.__name__ for base in kind.__bases__ if not issubclass(base, WarrenError)}
    assert all(f"({name})" in line for name in builtin - {"Exception"})


@pytest.mark.parametrize(
    ("error", "facts"),
    [
        (SAMPLES[1], ["s1", "30 s", "may or may not have been stored", "same idempotency key"]),
        (SAMPLES[2], ["s1", "down", "Nothing was stored"]),
        (SAMPLES[3], ["gold", "bulk", "Nothing was"]),
        (SAMPLES[4], ["gold", "later"]),
        (SAMPLES[7], ["j1", "s1", "2026-01-01", "later deadline"]),
        (SAMPLES[8], ["s1", "1.5 s", "goes on"]),
        (SAMPLES[9], ["s1", "reply=True"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_text_says_what_happened_to_what_and_what_to_do(
    error: WarrenError, facts: list[str]
) -> None:
    assert [fact for fact in facts if fact not in str(error)] == []
