from pathlib import Path

import pytest

from stack import redispackages
from stack.errors import RedisNotFound
from stack.redis import configuration
from stack.redispackages import identify, select

_SIMULATION = """\
Reading package lists...
Inst libc6 (2.36 Debian:12 [amd64])
Inst libjemalloc2 (5.3 Debian:12 [amd64])
Inst liblzf1 (3.6 Debian:12 [amd64])
Inst liblua5.1-0 (5.1 Debian:11 [amd64])
Inst lua-cjson (2.1 Debian:11 [amd64])
Inst libperl5.36 (5.36 Debian:12 [amd64])
Inst redis-tools (5:7.0 Debian:12 [amd64])
Inst redis-server (5:7.0 Debian:12 [amd64])
Conf redis-server (5:7.0 Debian:12 [amd64])
""".splitlines()


def test_the_server_its_tools_and_the_libraries_that_a_small_system_lacks_are_taken() -> None:
    assert select(_SIMULATION, "redis") == [
        "libjemalloc2",
        "liblzf1",
        "liblua5.1-0",
        "lua-cjson",
        "redis-tools",
        "redis-server",
    ]


@pytest.mark.parametrize(
    ("said", "about"),
    [
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc", ("Redis", "7.0.15")),
        ("Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc", ("Valkey", "8.1.1")),
        ("KeyDB server v=6", None),
        ("", None),
    ],
)
def test_a_server_is_known_by_what_it_says_of_itself(
    said: str, about: tuple[str, str] | None
) -> None:
    assert identify(said) == about


def test_without_apt_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(redispackages, "_FOLDERS", ())
    with pytest.raises(RedisNotFound, match="install Redis"):
        redispackages.find_redis(tmp_path / "cache")


def test_every_write_is_on_disk_before_its_answer_and_nothing_is_evicted() -> None:
    lines = configuration(Path("/a b"), 4711, 'se"cret', {}).splitlines()
    assert "appendfsync always" in lines
    assert "maxmemory-policy noeviction" in lines
    assert 'requirepass "se\\"cret"' in lines
    assert 'dir "/a b/data"' in lines


def test_a_setting_that_is_given_replaces_the_usual_one() -> None:
    text = configuration(Path("/r"), 4711, "secret", {"appendfsync": "everysec"})
    assert [line for line in text.splitlines() if line.startswith("appendfsync")] == [
        "appendfsync everysec"
    ]
