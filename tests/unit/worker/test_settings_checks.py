from pathlib import Path

import pytest

from tests.unit.worker.settings_samples import MINIMAL, Folder, having
from worker.settings import stores


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


REDIS = 'url = "rediss://redis.example:6379/0"'
TABLE: list[tuple[str, str]] = [
    (MINIMAL.partition("[tiers.premium]")[0], "there must be at least one"),
    (MINIMAL.replace('["main"]', '["main", "main"]'), "stands there twice"),
    (having("tiers.premium", 'deadline = "4d"'), "must not be longer than its max_deadline = 3d"),
    (
        MINIMAL
        + "".join(f'[tiers.t{n}]\nendpoints = ["main"]\nconcurrency = 7500\n' for n in range(3)),
        "adds up to 22532",
    ),
    (
        having("tiers.premium", 'attempt_timeout = "30m"'),
        "an attempt holds its delivery, and the broker takes that back after",
    ),
    (having("store", 'record_ttl = "9d"'), 'is too short: tier "premium" needs 10d'),
    (having("store", 'replay_window = "8d"'), "is too short"),
    (having("tiers.premium", 'max_deadline = "4d"'), "its longest retry horizon of 4d"),
    (
        # 4 attempts of 2m, and three waits of a day: longer than max_deadline.
        having("retry", "max_attempts = 4", 'attempt_backoffs = ["1d"]'),
        "its longest retry horizon of 4328m",
    ),
    (
        having("retry", 'attempt_backoffs = ["10s", "2s"]'),
        "retry.attempt_backoffs = 10s, 2s: no wait may be shorter than the one before",
    ),
    (having("store", 'result_ttl = "11d"'), "must not be longer than store.record_ttl"),
    (
        having("store", 'cache_max_size = "1MiB"', 'cache_max_entry = "2MiB"'),
        "must not be larger than store.cache_max_size",
    ),
    (
        having("retry", 'try_backoff_base = "1s"', 'try_backoff_cap = "500ms"'),
        "must not be longer than retry.try_backoff_cap",
    ),
    (MINIMAL.replace("127.0.0.1", "rabbit.example"), "to rabbit.example unencrypted: use amqps://"),
    (
        MINIMAL.replace("127.0.0.1", "127.0.0.1:5672,one,two:7"),
        "sends keys and prompts to one, two unencrypted",
    ),
    (
        having("broker", 'management_url = "http://10.0.0.1:15672"'),
        "set broker.allow_plaintext = true",
    ),
    (MINIMAL.replace("https:", "http:"), "set endpoints.main.allow_plaintext = true"),
    (having("endpoints.main", 'ca_file = "none.pem"'), "there is no such file"),
    (having("store", 'path = "warren.toml"'), "must be a folder"),
    (having("store", 'url = "redis://redis.example"'), "to redis.example unencrypted: use rediss"),
    (having("store", REDIS, 'path = "store"'), "store.path (PLACE) is a setting of the embedded"),
    (having("store", REDIS, 'durability = "power"'), "chooses Redis: keep one"),
    (having("store", 'password = "secret"'), "store.password (PLACE) is a setting of Redis, and"),
    (having("store", 'prefix = "other"'), "there is no store.url"),
    (having("store", REDIS, 'ca_file = "none.pem"'), "there is no such file"),
    (having("store", 'url = "redis://127.0.0.1/one"'), "must end with the number of a database"),
    (having("store", 'url = "http://127.0.0.1"'), "begins with redis:// or rediss://"),
    (having("store", 'url = "redis://127.0.0.1?db=1"'), "must have no query"),
    (having("store", REDIS, 'prefix = "a b"'), "match pattern"),
    (having("store", REDIS, 'record_ttl = "9d"'), 'is too short: tier "premium" needs 10d'),
]


@pytest.mark.parametrize(("text", "part"), TABLE, ids=[part for _, part in TABLE])
def test_a_rule_between_settings_that_does_not_hold_is_told(
    folder: Folder, text: str, part: str
) -> None:
    problems = folder.problems(text)
    assert len(problems) == 1, problems
    assert part.replace("PLACE", str(folder.config)) in problems[0]


@pytest.mark.parametrize(
    "text",
    [
        MINIMAL.replace("127.0.0.1", "localhost"),
        MINIMAL.replace("127.0.0.1", "[::1]"),
        MINIMAL.replace("amqp://worker@127.0.0.1", "amqps://worker@rabbit.example"),
        having("broker", "allow_plaintext = true").replace("127.0.0.1", "rabbit.example"),
        MINIMAL.replace("https://api.example", "http://127.0.0.9:8000"),
        having("store", 'record_ttl = "8d"')
        + '[tiers.short]\nendpoints=["main"]\ndeadline="1h"\nmax_deadline="1d"\n',
        having("tiers.premium", 'attempt_timeout = "14m"'),
        having("store", REDIS, 'password = "secret"', 'prefix = "warren:2"'),
        having("store", 'url = "redis://127.0.0.1"'),
        having("store", 'url = "redis://warren@[::1]:6380/3"'),
        having("store", 'url = "redis://redis.example"', "allow_plaintext = true"),
    ],
)
def test_what_keeps_the_rules_loads(folder: Folder, text: str) -> None:
    problems = folder.problems(text)
    if "8d" in text:  # the tier with the shorter deadline alone would be content
        assert len(problems) == 1
        assert '"premium"' in problems[0]
    else:
        assert problems == ()


def test_a_broken_value_hides_the_rules_about_it_and_no_others(folder: Folder) -> None:
    problems = folder.problems(
        having("store", 'record_ttl = "soon"', 'cache_max_size = "0B"', 'result_ttl = "365d"')
    )
    assert len(problems) == 2
    assert "record_ttl = " in problems[0]
    assert "cache_max_entry" in problems[1]


def test_an_endpoint_that_no_tier_uses_is_a_warning(folder: Folder) -> None:
    settings = folder.load(MINIMAL + '[endpoints.spare]\nbase_url = "https://b.example/v1"\n')
    assert settings.warnings == ("endpoints.spare is used by no tier",)


def test_a_redis_that_nothing_here_can_speak_to_is_a_problem(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "find_spec", lambda _: None)
    (problem,) = folder.problems(having("store", REDIS))
    assert "pip install 'warren[redis]'" in problem
    assert folder.problems() == ()
