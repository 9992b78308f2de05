import os
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.stores import EMBEDDED, REDIS, VARIABLE, Store, supply
from worker.settings import load

URL = "redis://:se%2Fcret@redis.example:6380/2"


@pytest.fixture
def told() -> list[str]:
    return []


def configured(folder: Path, store: Store) -> str:
    config = folder / "warren.toml"
    config.write_text(
        '[broker]\nurl = "amqp://worker@127.0.0.1/"\n[tiers.small]\nendpoints = ["main"]\n'
        f'[endpoints.main]\nbase_url = "https://api.example/v1"\n{store.table(folder)}',
        encoding="utf-8",
    )
    settings = load(config, {}).store
    password = "" if settings.password is None else settings.password.reveal()
    return f"{settings.url or settings.path} {password}"


def test_without_a_word_it_is_the_embedded_store(tmp_path: Path, told: list[str]) -> None:
    store = supply(tmp_path, None, None, told.append)
    assert configured(tmp_path, store) == f"{tmp_path / 'store'} "
    assert not told


def test_the_redis_of_the_environment_is_taken_and_no_child_sees_the_variable(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, URL)
    store = supply(tmp_path, None, None, told.append)
    assert configured(tmp_path, store) == "redis://redis.example:6380/2 se/cret"
    assert VARIABLE not in os.environ
    assert "cret" not in repr(store)
    again = supply(tmp_path, None, store, told.append)
    assert again == store


def test_the_embedded_store_that_is_asked_for_wins_over_the_environment(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, URL)
    assert supply(tmp_path, EMBEDDED, None, told.append) == Store()


def test_workers_that_run_cannot_change_their_store(tmp_path: Path, told: list[str]) -> None:
    with pytest.raises(StackError, match="share the embedded store: stop them first"):
        supply(tmp_path, REDIS, Store(), told.append, busy=True)
    assert not told


def test_a_url_that_is_none_is_refused(
    tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "http://redis.example")
    with pytest.raises(StackError, match="must look like redis://"):
        supply(tmp_path, None, None, told.append)
