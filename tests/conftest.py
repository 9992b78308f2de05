"""What all tests share: a private RabbitMQ and a private Redis for the session, and a place in each for every test."""

import os
import secrets
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from stack import credentials
from stack import redis as redises
from stack.broker import Broker, find_server, start
from stack.redis import Redis, find_redis
from tests.faults.room import RedisRoom
from tests.faults.vhost import DEFINITIONS, ROOT, Vhost, open_vhost

settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("dev", deadline=None)
settings.load_profile("dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--broker-release",
        help="take RabbitMQ from this Debian release (trixie: 4.0, sid: 4.3) instead of the machine's",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.broker)
        if "redis_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.redis)


@pytest.fixture(scope="session")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    file = tmp_path_factory.mktemp("credentials") / "credentials.json"
    return credentials.ensure(file, credentials.user_names(DEFINITIONS))


@pytest.fixture(scope="session")
def broker(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    passwords: dict[str, str],
) -> Iterator[Broker]:
    folder = tmp_path_factory.mktemp("broker")
    definitions = folder / "definitions.json"
    credentials.write_definitions(DEFINITIONS, definitions, passwords)
    release = request.config.getoption("--broker-release")
    server = find_server(ROOT / ".warren/servers", release=release)
    node = start(server, folder / "node", definitions=definitions, die_with_parent=True)
    yield node
    node.kill()


@pytest.fixture
def restart_broker(broker: Broker, request: pytest.FixtureRequest) -> Callable[[], object]:
    """SIGKILL the session's node and start it again in its folder, on its ports."""

    def restart() -> object:
        broker.kill()
        release = request.config.getoption("--broker-release")
        return start(
            find_server(ROOT / ".warren/servers", release=release),
            broker.folder,
            definitions=broker.folder.parent / "definitions.json",
            amqp_port=broker.amqp_port,
            http_port=broker.http_port,
            die_with_parent=True,
        )

    return restart


@pytest.fixture
def vhost(broker: Broker, passwords: dict[str, str]) -> Iterator[Vhost]:
    """A fresh virtual host: no test sees another's messages."""
    with open_vhost(broker, passwords) as made:
        yield made


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """The session's Redis, or Valkey. It survives its own SIGKILL without a loss; the machine's crash is not tested."""
    server = find_redis(ROOT / ".warren/servers")
    folder = tmp_path_factory.mktemp("redis")
    settings = {"appendfsync": "everysec"}
    redis = redises.start(server, folder / "server", settings=settings, die_with_parent=True)
    yield redis
    redis.kill()


@pytest.fixture
def redis_room(redis_server: Redis) -> Iterator[RedisRoom]:
    """An empty place in the session's Redis: no test sees another's keys."""
    yield RedisRoom(redis=redis_server, prefix=f"t{os.getpid()}-{secrets.token_hex(4)}")
    redis_server.ask("FLUSHALL")


@pytest.fixture
def restart_redis(redis_server: Redis) -> Callable[[], object]:
    """SIGKILL the session's Redis and start it again in its folder, on its port."""

    def restart() -> object:
        redis_server.kill()
        return redises.start(
            find_redis(ROOT / ".warren/servers"),
            redis_server.folder,
            port=redis_server.port,
            settings={"appendfsync": "everysec"},
            die_with_parent=True,
        )

    return restart
