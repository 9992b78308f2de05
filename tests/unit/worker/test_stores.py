"""The one place that knows which store is meant."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.vhost import ROOT
from tests.unit.worker.settings_samples import Folder, having
from worker import stores
from worker.errors import SettingsError
from worker.settings import StoreSettings
from worker.store.embedded.archive import EmbeddedArchive
from worker.store.embedded.laneorders import OrderBook
from worker.store.redis.archive import RedisArchive
from worker.store.redis.laneorders import RedisOrderBook

REDIS = ('url = "rediss://us%2Fer:se%2Fcret@redis.example:6380/2"', 'prefix = "fleet-2"')


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def redis(folder: Folder) -> StoreSettings:
    file = folder.file("ca.pem", "")
    lines = (*REDIS, f'ca_file = "{file}"', 'timeout = "2s"', 'cache_max_size = "64MiB"')
    return folder.load(having("store", *lines)).store


def test_without_a_url_the_store_is_the_embedded_one(folder: Folder) -> None:
    settings = folder.load(having("store", 'path = "here"')).store
    assert isinstance(stores.archive(settings), EmbeddedArchive)
    assert isinstance(stores.lane_book(settings), OrderBook)
    assert stores.place(settings) == str(folder.path / "here")


def test_with_a_url_it_is_redis(redis: StoreSettings) -> None:
    assert isinstance(stores.archive(redis), RedisArchive)
    assert isinstance(stores.lane_book(redis), RedisOrderBook)


def test_redis_gets_what_the_settings_say_and_user_and_password_apart(redis: StoreSettings) -> None:
    options = stores.redis_options(redis)
    assert options.url == "rediss://redis.example:6380/2"
    assert (options.username, options.password) == ("us/er", "se/cret")
    assert (options.prefix, options.ca_file) == ("fleet-2", redis.ca_file)
    assert (options.timeout.total_seconds(), options.cache_bytes) == (2, 64 * 1024**2)
    assert (options.record_ttl, options.result_ttl) == (redis.record_ttl, redis.result_ttl)
    assert "cret" not in f"{options!r}{stores.place(redis)}"


def test_a_password_file_that_is_gone_by_now_is_a_problem_of_the_settings(folder: Folder) -> None:
    file = folder.file("password", "secret")
    settings = folder.load(
        having("store", 'url = "redis://127.0.0.1"', f'password_file = "{file}"')
    )
    file.unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        stores.archive(replace(settings.store))


def test_one_host_needs_no_package_for_redis() -> None:
    code = (
        "import sys; sys.modules['redis'] = sys.modules['hiredis'] = None\n"
        "import worker.app, worker.cli.commands\n"
        "print('worker.store.redis' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "False\n", done.stderr
