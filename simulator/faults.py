"""Faults and plans: the words that make the simulator misbehave. Pure.

A plan is a comma-separated list of faults. Each call of a request takes the next entry; after the
last one calls are `ok`, unless the last entry ends in `!`, which makes it stand for good::

    503,503                  fails twice, then works
    400!                     fails for good
    429(retry-after=2),ok    one refusal with a hint
    slow(1.5),reset_body     slow once, then cut off in mid body
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Final

MAX_BYTES: Final = 1 << 30
"""Largest size that `big` and `gzip_bomb` accept: the body is built in memory."""


class PlanError(ValueError):
    """A plan, a fault or a rule cannot be understood; the text says which part and what is expected."""


class Argument(Enum):
    """What stands between a fault's parentheses."""

    NONE = auto()
    SECONDS = auto()
    OPTIONAL_SECONDS = auto()
    BYTES = auto()
    HINTS = auto()


REFUSALS: Final = (
    *("400", "401", "403", "404", "408", "409", "429", "500", "502", "503", "529"),
    "context_length",
)
"""Faults that are an error status at once, without latency."""

WORDS: Final[dict[str, Argument]] = {
    "ok": Argument.NONE,
    **dict.fromkeys(REFUSALS, Argument.HINTS),
    "hang": Argument.NONE,
    "hang_body": Argument.NONE,
    "drip": Argument.OPTIONAL_SECONDS,
    "reset": Argument.NONE,
    "reset_body": Argument.NONE,
    "garbage": Argument.NONE,
    "html": Argument.NONE,
    "truncated": Argument.NONE,
    "empty": Argument.NONE,
    "204": Argument.NONE,
    "no_choices": Argument.NONE,
    "redirect": Argument.NONE,
    "big": Argument.BYTES,
    "gzip_bomb": Argument.BYTES,
    "slow": Argument.SECONDS,
    "goaway": Argument.NONE,
}

HINTS: Final = ("retry-after", "retry-date", "retry-after-ms")
QUOTA: Final = "insufficient_quota"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to misbehave; `ok` is the absence of one. `str()` gives the text it was read from."""

    word: str
    argument: str = ""

    def __str__(self) -> str:
        return f"{self.word}({self.argument})" if self.argument else self.word

    @property
    def seconds(self) -> float | None:
        """The argument as a duration, or None where it was left out."""
        return float(self.argument) if self.argument else None

    @property
    def size(self) -> int:
        """The argument as a number of bytes."""
        return int(self.argument)

    def hints(self) -> Iterator[tuple[str, str]]:
        """The refusal's hints as pairs; a bare word has an empty value."""
        for part in filter(None, self.argument.split(";")):
            name, _, value = part.partition("=")
            yield name.strip(), value.strip()


OK: Final = Fault(word="ok")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The faults of one request's calls, in order, and what holds after the last."""

    faults: tuple[Fault, ...] = ()
    for_good: bool = False

    def at(self, index: int) -> Fault:
        """Give the fault of the request's call number `index`, counted from zero."""
        if index < len(self.faults):
            return self.faults[index]
        return self.faults[-1] if self.for_good else OK


def parse_fault(text: str) -> Fault:
    """Read `word` or `word(argument)`; raise PlanError for anything else."""
    word, paren, rest = text.strip().partition("(")
    if word not in WORDS:
        raise PlanError(f"unknown fault {word!r}: use one of {', '.join(WORDS)}")
    if paren and not rest.endswith(")"):
        raise PlanError(f"fault {text.strip()!r} lacks its closing parenthesis")
    fault = Fault(word=word, argument=rest[:-1].strip())
    _check(fault)
    return fault


@lru_cache(maxsize=1024)
def parse_plan(text: str) -> Plan:
    """Read a comma-separated plan; the empty text is the plan without faults. Raise PlanError."""
    entries = list(_split(text))
    for_good = bool(entries) and entries[-1].endswith("!")
    if for_good:
        entries[-1] = entries[-1][:-1]
    return Plan(faults=tuple(map(parse_fault, entries)), for_good=for_good)


def _split(text: str) -> Iterator[str]:
    """Split at the commas outside parentheses: an HTTP date has a comma inside."""
    if not text.strip():
        return
    depth = start = 0
    for index, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            yield text[start:index].strip()
            start = index + 1
    yield text[start:].strip()


def _check(fault: Fault) -> None:
    match WORDS[fault.word]:
        case Argument.NONE if fault.argument:
            raise PlanError(f"fault {str(fault)!r}: {fault.word} takes no argument")
        case Argument.SECONDS:
            _check_seconds(fault)
        case Argument.OPTIONAL_SECONDS if fault.argument:
            _check_seconds(fault)
        case Argument.BYTES:
            if not (fault.argument.isdecimal() and int(fault.argument) <= MAX_BYTES):
                raise PlanError(f"fault {str(fault)!r}: expected bytes, 0 to {MAX_BYTES}")
        case Argument.HINTS:
            _check_hints(fault)
        case _:
            pass


def _check_seconds(fault: Fault) -> None:
    try:
        good = 0 <= float(fault.argument) < float("inf")
    except ValueError:
        good = False
    if not good:
        raise PlanError(f"fault {str(fault)!r}: expected seconds, such as {fault.word}(1.5)")


def _check_hints(fault: Fault) -> None:
    # The value goes into a header as it stands, so that a client meets real nonsense; only what
    # would break the head itself is refused.
    if not (fault.argument.isascii() and fault.argument.isprintable()):
        raise PlanError(f"fault {fault.word!r}: a hint is printable ASCII")
    for name, value in fault.hints():
        known = (name in HINTS and value) or (name == QUOTA and not value)
        if not known:
            raise PlanError(f"fault {str(fault)!r}: expected {QUOTA} or one of {HINTS} with =value")
        if name == "retry-date":
            _check_seconds(Fault(word="retry-date", argument=value.removeprefix("-")))
