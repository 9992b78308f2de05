"""What happens in a schedule, drawn from its seed: a list of actions at their times, so that one can be left out."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from operator import attrgetter
from random import Random
from typing import Any, Final, TypeAlias

from producer_sdk.wire import Dedupe, Lane, Verb
from tests.simulation.clients import CLIENTS, TENANTS
from tests.simulation.upstream import MOODS, Mood
from tests.simulation.world import World
from worker.core.lanes import Orders

# Faults come within so many virtual seconds; after that the world heals.
CHAOS_S: Final = 22.0
_CLOSE: Final = 0.7
_AFTER: Final = (0.01, 0.3, 1.0, 4.0)
KEYS: Final = ("k1", "k2", "k3")
POINTS: Final = (
    ("taken", None),
    ("begun", None),
    ("calling", None),
    ("sent", None),
    ("headers", None),
    ("body", None),
    ("answered", None),
    ("recorded", None),
    ("published", "reply"),
    ("confirmed", "reply"),
    ("confirmed", "parked"),
    ("confirmed", "dead"),
    ("published", "parked"),
    ("published", "dead"),
    ("carried", None),
    ("acked", None),
    ("renewed", None),
)


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that befalls the world, by the name of the world's method."""

    at: float
    what: str
    values: tuple[Any, ...] = ()
    named: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        said = [str(value) for value in self.values]
        said += [f"{name}={value}" for name, value in self.named if value is not None]
        return f"{self.at:7.3f}s  {self.what}({', '.join(said)})"

    def play(self, world: World) -> None:
        """Let it happen."""
        attrgetter(self.what)(world)(*self.values, **dict(self.named))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A whole schedule."""

    seed: int
    workers: int
    mood: Mood
    endpoints: tuple[str, ...]
    actions: tuple[Action, ...]

    @property
    def asks(self) -> bool:
        return any(action.what == "clients.ask" for action in self.actions)

    @property
    def orders(self) -> bool:
        return any(action.what == "harm.order" for action in self.actions)


Draw: TypeAlias = Callable[[Random, int], Action]


def draw(seed: int, *, harm: Collection[str] = (), mood: Mood | None = None) -> Plan:
    """Give the plan of a seed; `harm` and `mood` let only that befall the world, and often."""
    chance = Random(seed)  # noqa: S311  # chance that can be repeated is the point
    workers = chance.choice((1, 2, 2, 2, 3))
    few_keys = chance.random() < 0.7
    shares = chance.choice((0.0, 0.0, 0.5, 1.0))
    actions = [
        _submission(chance, few_keys=few_keys, shares=shares)
        for _ in range(chance.choice((1, 1, 2, 2, 3, 4, 6)))
    ]
    names = [name for name, weight in _FAULTS if not harm or name in harm for _ in range(weight)]
    count = chance.choice((0, 1, 1, 2, 2, 3, 4, 6)) + 2 * bool(harm)
    chosen = [chance.choice(names) for _ in range(count)]
    times = [action.at for action in actions]
    for name in chosen:
        fault = _DRAWS[name](chance, workers)
        if chance.random() < _CLOSE:
            # Most of the time nothing is under way: so faults come close to what is, and to each other.
            fault = replace(
                fault, at=chance.choice(times) + chance.choice(_AFTER) * chance.random()
            )
        times.append(fault.at)
        actions.append(fault)
    actions.sort(key=lambda action: action.at)
    return Plan(
        seed=seed,
        workers=workers,
        mood=mood or chance.choice(MOODS),
        endpoints=("alpha",) if chance.random() < 0.8 else ("alpha", "beta"),
        actions=tuple(actions),
    )


def _submission(chance: Random, *, few_keys: bool, shares: float) -> Action:
    keyed = chance.random() < 0.8
    dedupe = chance.choice((Dedupe.INFLIGHT, Dedupe.CACHE)) if chance.random() < shares else None
    return Action(
        chance.choice((0.5, 6.0, CHAOS_S * 0.7)) * chance.random(),
        "clients.submit",
        (
            chance.choice(TENANTS) if chance.random() < 0.3 else TENANTS[0],
            chance.choice(KEYS[: 1 if few_keys else 3]) if keyed else None,
            0 if chance.random() < 0.85 else 1,
        ),
        (
            ("dedupe", dedupe or Dedupe.OFF),
            ("priority", chance.choice((1, 4, 7))),
            ("deadline_s", chance.choice((None, None, None, 3.0, 12.0, 40.0))),
            ("lane", Lane.BULK if chance.random() < 0.15 else Lane.INTERACTIVE),
            ("client", chance.choice((*CLIENTS[:1] * 3, *CLIENTS[1:2] * 2, CLIENTS[2]))),
            ("copies", 2 if chance.random() < 0.1 else 1),
        ),
    )


def _when(chance: Random) -> float:
    return chance.choice((1.0, 5.0, CHAOS_S * 0.9)) * chance.random()


def _crash(chance: Random, workers: int) -> Action:  # noqa: ARG001  # every draw has the same form
    point, copy = chance.choice(POINTS)
    return Action(
        chance.choice((0.0, 5.0)), "harm.crash", (point, copy, chance.choice((1, 1, 1, 2, 3)))
    )


def _orders(chance: Random, workers: int) -> Action:  # noqa: ARG001
    orders = chance.choice(
        (
            Orders(paused=True),
            Orders(),
            Orders(per_minute=chance.choice((2, 10, 30))),
            Orders(concurrency=1),
        )
    )
    return Action(_when(chance), "harm.order", (chance.choice(tuple(Lane)), orders))


_DRAWS: Final[dict[str, Draw]] = {
    "kill": lambda c, n: Action(_when(c), "harm.kill", (c.randrange(n),)),
    "crash": _crash,
    "dies": lambda c, n: Action(
        _when(c), "harm.die_within", (c.randrange(n), c.choice((20, 60, 150)))
    ),
    "sleeps": lambda c, n: Action(
        _when(c), "harm.sleep_within", (c.randrange(n), c.choice((20, 60)), c.choice((16.0, 20.0)))
    ),
    "suspend": lambda c, n: Action(
        _when(c), "harm.suspend", (c.randrange(n), c.choice((1.0, 16.0, 20.0, 35.0)))
    ),
    "cut": lambda c, n: Action(
        _when(c),
        "harm.cut",
        (
            c.randrange(n),
            c.randrange(2),
            c.choice((0.0, 0.1, 8.0)) * c.random(),
            c.choice((0.0, 0.1, 8.0)) * c.random(),
        ),
    ),
    "stall": lambda c, n: Action(
        _when(c), "harm.stall", (c.randrange(n), c.randrange(2), 15 * c.random())
    ),
    "broker": lambda c, _: Action(_when(c), "harm.restart_broker", (4 * c.random(),)),
    "store": lambda c, _: Action(
        _when(c), "harm.outage", (c.choice(("out", "flaky", "unknown")), c.choice((1.0, 8.0)))
    ),
    "confirms": lambda c, _: Action(_when(c), "harm.late_confirms", (15.0,)),
    "refusals": lambda c, _: Action(_when(c), "harm.refuse_replies", (5.0,)),
    "jump": lambda c, _: Action(
        _when(c), "harm.jump", (c.choice((-40.0, -5.0, 5.0, 40.0, 600.0)),)
    ),
    "drain": lambda c, n: Action(
        _when(c), "harm.drain", (c.randrange(n), c.choice((0.1, 1.0, 30.0)))
    ),
    "replay": lambda c, _: Action(
        2 + 0.8 * CHAOS_S * c.random(),
        "clients.replay",
        (c.choice((None, None, 0.02 * c.random())),),
    ),
    "again": lambda c, _: Action(
        2 + 0.8 * CHAOS_S * c.random(), "clients.replay_by_hand", (c.randrange(8),)
    ),
    "cancel": lambda c, _: Action(
        _when(c), "clients.ask", (Verb.CANCEL, c.choice(TENANTS[:1]), c.choice(KEYS[:1]))
    ),
    "result": lambda c, _: Action(
        _when(c), "clients.ask", (Verb.RESULT, c.choice(TENANTS), KEYS[0])
    ),
    "order": _orders,
}
_FAULTS: Final = (
    ("kill", 4),
    ("crash", 6),
    ("dies", 4),
    ("suspend", 2),
    ("sleeps", 2),
    ("cut", 4),
    ("stall", 1),
    ("broker", 2),
    ("store", 2),
    ("confirms", 1),
    ("refusals", 1),
    ("jump", 1),
    ("drain", 2),
    ("replay", 2),
    ("again", 1),
    ("cancel", 2),
    ("result", 1),
    ("order", 1),
)
