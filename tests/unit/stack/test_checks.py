from pathlib import Path

import pytest

from stack import checks
from stack.errors import BrokerNotFound, RedisNotFound
from stack.redispackages import RedisServer
from stack.server import Server


def test_the_cheap_checks_come_before_the_tests() -> None:
    assert [name for name, _ in checks.steps([])] == ["lint", "format", "types", "imports", "tests"]


def test_the_last_step_is_a_seeded_slice_of_chaos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARREN_SEED", "7")
    ((name, command),) = checks._slice([])
    assert name == "chaos"
    assert command[1:] == ["-m", "tests.chaos", "--ci", "--minutes", "3", "--seed", "7"]


def test_who_asks_for_some_tests_gets_no_chaos() -> None:
    assert checks._slice(["-k", "replay"]) == []


def test_without_a_release_nothing_runs_twice() -> None:
    assert checks._newer(None, []) == []


def test_a_newer_broker_repeats_what_speaks_to_the_broker_with_the_same_arguments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(scripts=Path("s"), erlang=Path("e"), version="4.0.5")
    monkeypatch.setattr(checks, "find_server", lambda *_, **__: server)
    ((name, command),) = checks._newer("trixie", ["-x"])
    assert name == "tests on RabbitMQ 4.0.5"
    *suites, _, _, _ = command[3:]
    assert command[-3:] == ["--broker-release", "trixie", "-x"]
    assert {"test_broker_intake.py", "test_broker_delivery.py", "test_producer_sdk.py"} <= {
        Path(suite).name for suite in suites
    }
    assert all(Path(suite).exists() for suite in suites)


def test_a_newer_broker_that_cannot_be_had_is_said_and_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(*_: object, **__: object) -> Server:
        raise BrokerNotFound("no mirror has it")

    monkeypatch.setattr(checks, "find_server", none)
    assert checks._newer("trixie", []) == []
    assert "no tests on the RabbitMQ of trixie: no mirror has it" in capsys.readouterr().out


def test_the_second_stores_suites_run_again_on_a_valkey_with_the_same_arguments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = RedisServer(program=Path("p"), product="Valkey", version="8.1.1")
    monkeypatch.setattr(checks, "find_redis", lambda *_, **__: server)
    ((name, command),) = checks._valkey("trixie", ["-x"])
    assert name == "tests on Valkey 8.1.1"
    assert command[-3:] == ["--redis-release", "trixie", "-x"]
    suites = {Path(word).name for word in command if word.endswith(".py")}
    assert {"test_cache.py", "test_ledger_settling.py", "test_redis_ledger.py"} <= suites
    assert not suites & {"test_ledger_model.py", "test_ledger_twins.py"}


def test_a_valkey_that_cannot_be_had_is_said_and_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(*_: object, **__: object) -> RedisServer:
        raise RedisNotFound("no mirror has it")

    monkeypatch.setattr(checks, "find_redis", none)
    assert checks._valkey("trixie", []) == []
    assert "no tests on the Valkey of trixie: no mirror has it" in capsys.readouterr().out
    assert checks._valkey(None, []) == []
