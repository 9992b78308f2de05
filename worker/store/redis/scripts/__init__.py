"""Scripts that run inside the server, each as one step that nothing else comes between.

Each is made of parts, which are the `.lua` files of this folder: what several need, and last its own.

| part | holds |
| --- | --- |
| `arguments` | what every script of the ledger begins with |
| `time` | the server's clock |
| `job` | the job as the delivery shows it |
| `rows` | one job's row, its submissions and its history |
| `letters` | the index of dead letters |
| `calling_off`, `closing` | cancelled jobs without a record; their calls |
| `claims`, `claiming` | whose call runs; a job's own claim, and the answers that ended claims leave |
| `records`, `standing` | what came out of a run; the rule of `find` |
| `entering`, `settling`, `ending` | how a delivery enters the books, whose the open row is, how a run ends |
| `giving_back` | undoing a `begin` that nobody received |
| `asked` | an ask and whose job it is about |
| `meters` | a meter as it is now, for what is used of the accounts' limits |
| `money` | sums of any length, exact |

The other files are the ends of scripts, by the name of their operation. What they decide is what the transaction
functions of `worker.store.embedded` decide; the same suites and random lives hold both to it.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

_FOLDER = Path(__file__).parent
_CALLERS_TIME = "local function server_now() return now end"


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the hash by which a server knows it."""

    source: str
    sha: str

    @classmethod
    def of(cls, *sources: str) -> Self:
        """Give the script that the sources make one after the other."""
        source = "\n".join(sources)
        return cls(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


@cache
def read(name: str) -> str:
    """Give the text of a `.lua` file of this folder."""
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerScripts:
    """The ledger's operations."""

    find: Script
    begin: Script
    give_back: Script
    end: Script
    park: Script
    carried: Script
    held: Script
    wanted_until: Script
    holds: Script
    called_off: Script
    result: Script
    cancel: Script
    renew: Script
    sweep: Script

    @classmethod
    def made(cls, *, trust_clock: bool = False) -> Self:
        """Read and put together all of them; with `trust_clock` the caller's clock is the server's, as in tests."""

        def of(*parts: str) -> Script:
            return Script.of(
                *(_CALLERS_TIME if trust_clock and part == "time" else read(part) for part in parts)
            )

        ground = ("arguments", "time", "money", "rows", "claims")
        entered = (
            *(
                "arguments",
                "time",
                "money",
                "job",
                "rows",
                "letters",
                "calling_off",
                "claims",
                "claiming",
            ),
            *("records", "standing", "entering"),
        )
        return cls(
            find=of("arguments", "job", "rows", "calling_off", "records", "standing", "find"),
            begin=of(*entered, "giving_back", "begin"),
            give_back=of(*ground, "giving_back", "give_back"),
            end=of(*entered, "ending", "settling", "end"),
            park=of(*entered, "ending", "settling", "park"),
            carried=of("arguments", "job", "rows", "carried"),
            held=of(*ground, "held"),
            wanted_until=of(*ground, "wanted_until"),
            holds=of(*ground, "calling_off", "closing", "holds"),
            called_off=of("arguments", "calling_off", "closing", "called_off"),
            result=of("arguments", "rows", "records", "asked", "result"),
            cancel=of(*(*ground, "letters", "calling_off", "records", "ending", "asked", "cancel")),
            renew=of("arguments", "time", "renew"),
            sweep=of(*ground, "letters", "sweep"),
        )
