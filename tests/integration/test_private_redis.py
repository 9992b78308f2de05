import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stack import occupancy
from stack.redis import Redis, RedisFailed, find_redis, running, start
from stack.redispackages import RedisServer
from stack.resp import ask
from tests.faults.room import RedisRoom
from tests.faults.vhost import ROOT

pytestmark = pytest.mark.redis


@pytest.fixture(scope="module")
def server() -> RedisServer:
    return find_redis(ROOT / ".warren/servers")


def test_it_evicts_nothing_and_logs_every_write(redis_room: RedisRoom) -> None:
    redis = redis_room.redis
    assert redis.ask("CONFIG", "GET", "maxmemory-policy") == ["maxmemory-policy", "noeviction"]
    assert redis.ask("CONFIG", "GET", "appendonly") == ["appendonly", "yes"]


def test_only_who_knows_the_password_is_let_in(redis_room: RedisRoom) -> None:
    with pytest.raises(RedisFailed, match="WRONGPASS"):
        ask(redis_room.redis.port, "guess", "PING")
    conf = redis_room.redis.folder / "redis.conf"
    assert stat.S_IMODE(conf.stat().st_mode) == 0o600


def test_it_listens_on_one_loopback_address_only(redis_room: RedisRoom) -> None:
    with pytest.raises(OSError, match=r"refused|assign|unreachable|timed out"):
        socket.create_connection(("127.0.0.2", redis_room.redis.port), timeout=1)


def test_killed_it_comes_back_in_its_place_with_all_that_it_had_answered(
    server: RedisServer, tmp_path: Path
) -> None:
    folder = tmp_path / "a folder"  # a space in its path, as in many a person's home
    first = start(server, folder, die_with_parent=True)
    for number in range(100):
        first.ask("SET", f"k{number}", "there")
    first.kill()
    assert running(folder) is None
    second = start(server, folder, die_with_parent=True)
    assert second == first
    assert second.ask("DBSIZE") == 100
    second.stop()
    assert running(folder) is None
    second.stop()


def test_a_second_one_in_the_same_folder_is_refused(
    server: RedisServer, redis_server: Redis
) -> None:
    with pytest.raises(RedisFailed, match="already runs"):
        start(server, redis_server.folder)
    assert running(redis_server.folder) == redis_server


def test_it_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from stack.redis import *\n"
        "start(find_redis(Path(sys.argv[2])), Path(sys.argv[1]), die_with_parent=True)\n"
        "print('up', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(ROOT / ".warren/servers")]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        assert running(tmp_path) is not None
        parent.send_signal(signal.SIGKILL)
    assert occupancy.wait_until(lambda: running(tmp_path) is None, 20)


def test_one_that_cannot_start_tells_why_and_leaves_nothing(
    server: RedisServer, tmp_path: Path
) -> None:
    with pytest.raises(RedisFailed, match="no_such_setting"):
        start(server, tmp_path, settings={"no_such_setting": "1"})
    assert running(tmp_path) is None


def test_stopped_in_its_tracks_it_answers_nobody_until_it_is_let_go(redis_room: RedisRoom) -> None:
    redis = redis_room.redis
    redis.send(signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError):
            redis.ask("PING", timeout_s=0.2)
    finally:
        redis.send(signal.SIGCONT)
    assert redis.ask("PING") == "PONG"
