"""What a chaos experiment is: it is given a ground to stand on, and gives what it measured against its bounds.

An experiment is one async function. It asks its ground for brokers and virtual hosts, builds what it needs on
them, harms it, waits for the dust to settle, audits, and gives a `Measured`. It ends everything that it started.
"""

import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

from producer_sdk.wire import QueueType
from stack.broker import Broker
from tests.faults.vhost import Vhost


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A figure that must not be larger than what is promised."""

    name: str
    measured: int | float
    at_most: int | float

    @property
    def broken(self) -> bool:
        """Whether the promise was broken."""
        return not self.measured <= self.at_most


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What an experiment did and saw.

    `work` is one line for the table: how much of what was done, on what. `figures` are further counts that have
    no bound, such as how many calls were in flight at a kill. `versions` are those of servers that are none of the
    ground's brokers, such as {"Redis": "7.0.15"}.
    """

    work: str
    bounds: tuple[Bound, ...]
    figures: Mapping[str, int | float | str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def broken(self) -> tuple[Bound, ...]:
        """The bounds that were broken."""
        return tuple(bound for bound in self.bounds if bound.broken)


class Ground(Protocol):
    """What an experiment stands on: a folder, a seeded chance, its share of the time, brokers."""

    @property
    def folder(self) -> Path:
        """A folder of the experiment's own."""
        ...

    @property
    def seed(self) -> int:
        """The run's seed; an experiment draws from `chance`, or derives seeds for its processes from this."""
        ...

    @property
    def chance(self) -> random.Random:
        """The experiment's own source of chance, the same for the same seed and experiment."""
        ...

    def scaled(self, full: int, *, least: int = 1) -> int:
        """Give an amount of the full-size run, cut down to this run's share of the time."""
        ...

    def tell(self, text: str) -> None:
        """Show a person how far the experiment is; the last text stands."""
        ...

    def broker(self, release: str | None = None) -> Broker:
        """Give a running private node: of the machine's own RabbitMQ, or of that Debian release's.

        One node per release serves all experiments; an experiment that kills it starts it again.
        """
        ...

    def vhost(
        self, release: str | None = None, *, queue_type: QueueType = "classic"
    ) -> AbstractContextManager[Vhost]:
        """Open a fresh virtual host with Warren's topology on `broker(release)`."""
        ...


Run: TypeAlias = Callable[[Ground], Awaitable[Measured]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One row of the table: what is tried, the promise in words, how long the full-size run may take, and how.

    `name` is what `--only` takes: one to three words, such as "kills". `run` is named as "module:function" and
    imported when it is its turn. `in_ci`: whether the small run of `./dev test` has it too; there it has seconds.
    """

    name: str
    title: str
    promise: str
    minutes: float
    run: str
    in_ci: bool = True
