"""A connection to the Redis that blocks: for the operators' questions, one after the other."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.exceptions import NoScriptError, RedisError

from worker.store.redis.address import client, where
from worker.store.redis.connection import Part
from worker.store.redis.options import RedisOptions
from worker.store.redis.scripts import Script
from worker.store.redis.trouble import unavailable


class Direct:
    """Scripts and commands in the prefix of a fleet; use `direct`, which opens, closes and translates errors."""

    def __init__(self, talking: redis.Redis, options: RedisOptions) -> None:
        self._talking = talking
        self._options = options

    def key(self, *parts: str) -> str:
        """Give the name of a key; as `RedisConnection.key`."""
        return ":".join((f"{{{self._options.prefix}}}", *parts))

    def run(self, script: Script, *arguments: Part) -> Any:  # noqa: ANN401  # what the script gives
        """Run a script, with `{<prefix>}` as its one key, and give what it returns."""
        try:
            return self._talking.evalsha(script.sha, 1, self.key(), *arguments)
        except NoScriptError:
            return self._talking.eval(script.source, 1, self.key(), *arguments)

    def command(self, *parts: Part) -> Any:  # noqa: ANN401  # what the server gives
        """Run a plain command, and give the answer as it came."""
        return self._talking.execute_command(*parts)  # type: ignore[no-untyped-call]  # not typed there

    def commands(self, many: Sequence[tuple[Part, ...]]) -> list[Any]:
        """Run plain commands in one round trip."""
        with self._talking.pipeline(transaction=False) as together:
            for parts in many:
                together.execute_command(*parts)  # type: ignore[no-untyped-call]  # not typed there
            return together.execute()


@contextmanager
def direct(options: RedisOptions) -> Iterator[Direct]:
    """Talk to the Redis for a while.

    Raises:
        StoreUnavailable: it cannot be used now.
    """
    talking = client(options)
    try:
        yield Direct(talking, options)
    except (RedisError, OSError) as error:
        raise unavailable(error, where(options.url)) from error
    finally:
        talking.close()
