"""Which store is meant: each setting that was given must be one of its own."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Final

from worker.settings.finding import Finding
from worker.settings.schema import Settings

_EMBEDDED: Final = ("path", "durability")
_REDIS: Final = ("password", "prefix", "ca_file", "allow_plaintext", "timeout")


def which_store(settings: Settings) -> Iterator[Finding]:
    """Find settings of the store that is not meant, and a Redis that nothing here can speak to."""
    given = settings.sources
    if settings.store.url is None:
        for name in _REDIS:
            if f"store.{name}" in given:
                yield Finding(
                    about=(f"store.{name}", "store.url"),
                    text=f"store.{name} ({given[f'store.{name}']}) is a setting of Redis, and there is no store.url:"
                    " set it, or take this away",
                )
        return
    for name in _EMBEDDED:
        if f"store.{name}" in given:
            yield Finding(
                about=(f"store.{name}", "store.url"),
                text=f"store.{name} ({given[f'store.{name}']}) is a setting of the embedded store, and"
                f" store.url ({given['store.url']}) chooses Redis: keep one",
            )
    if find_spec("redis") is None:
        yield Finding(
            about=("store.url",),
            text="store.url chooses Redis, and the Python package for it is not installed:"
            " pip install 'warren[redis]'",
        )
