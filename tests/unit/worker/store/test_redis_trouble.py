"""Every error of a Redis, in the words of every version, means the right thing to an operator."""

import pytest
from redis._parsers.base import BaseParser
from redis.exceptions import ConnectionError as Away
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as Late

from worker.errors import StoreUnavailable
from worker.store.redis.address import where
from worker.store.redis.trouble import unavailable

SAID = {
    "OOM command not allowed when used memory > 'maxmemory'.": "maxmemory",
    "OOM command not allowed when used memory > 'maxmemory'. script: 1b, on @user_script:1.": "maxmemory",
    "ERR Error running script (call to f_1b): @user_script:1: @user_script: 1: -OOM command not allowed when"
    " used memory > 'maxmemory'.": "maxmemory",
    "READONLY You can't write against a read only replica.": "replica now",
    "READONLY You can't write against a read only replica. script: 1b, on @user_script:1.": "replica now",
    "ERR Error running script (call to f_1b): @user_script:1: -READONLY You can't write against a read only"
    " replica.": "replica now",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.": "that disk",
    "MISCONF Errors writing to the AOF file: No space left on device": "that disk",
    "NOREPLICAS Not enough good replicas to write.": "too few replicas",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.": "slow log",
    "LOADING Redis is loading the dataset in memory": "after a start",
    "ERR max number of clients reached": "maxclients",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": "nodes back",
    "CLUSTERDOWN The cluster is down": "nodes back",
    "MOVED 3999 127.0.0.1:6381": "another node",
    "NOAUTH Authentication required.": "user, password",
    "WRONGPASS invalid username-password pair or user is disabled.": "user, password",
    "NOPERM this user has no permissions to run the 'evalsha' command": "rights",
    "NOPERM ACL failure in script: User warren has no permissions to run the 'zadd' command script: 1b, on"
    " @user_script:1.": "rights",
    "ERR The user executing the script can't run this command or subcommand script: 1b, on @user_script:1.": "rights",
    "ERR The user executing the script can't access at least one of the keys mentioned in the command arguments"
    " script: 1b, on @user_script:1.": "rights",
    "ERR unknown command 'EVALSHA'": "its log",
}


def error_of(said: str) -> Exception:
    """Give what the library makes of it."""
    error: Exception = BaseParser.parse_error(said)  # type: ignore[no-untyped-call]  # not typed there
    return error


@pytest.mark.parametrize("said", SAID)
def test_what_the_server_says_becomes_advice(said: str) -> None:
    told = unavailable(error_of(said), "there:1")
    assert isinstance(told, StoreUnavailable)
    assert str(told).startswith("the Redis there:1 ")
    assert SAID[said] in str(told)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (Away("refused"), "cannot be reached"),
        (Late("late"), "did not answer in time"),
        (TimeoutError(), "did not answer in time"),
        (ConnectionResetError(), "cannot be reached"),
        (RedisError("new"), "its log"),
    ],
)
def test_what_the_network_does_becomes_advice(error: Exception, advice: str) -> None:
    told = unavailable(error, "there:1")
    assert isinstance(told, StoreUnavailable)
    assert advice in str(told)
    assert told.__cause__ is error


@pytest.mark.parametrize(
    "said",
    [
        "WRONGTYPE Operation against a key holding the wrong kind of value script: 1b, on @user_script:1.",
        "ERR user_script:1: attempt to index a nil value script: 1b, on @user_script:1.",
    ],
)
def test_a_mistake_of_ours_stays_what_it_is(said: str) -> None:
    error = error_of(said)
    assert unavailable(error, "there:1") is error
    mistake = ValueError()
    assert unavailable(mistake, "there:1") is mistake


def test_an_address_is_shown_without_its_credentials() -> None:
    assert where("rediss://user:secret@redis.example:6380/2") == "redis.example:6380/2"
    assert where("unix:///run/redis.sock") == "/run/redis.sock"
