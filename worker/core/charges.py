"""Whether a failed call was charged for, where its answer told no usage: tables, with the reason beside each row.

What is said here decides whether a failure's cost is zero or unknown. APIs charge nothing for what they refuse and for
what they fail at themselves. Unknown is what may have been worked on: an answer that was given and could not be used,
and a call that broke off after its request was sent.
"""

from decimal import Decimal
from typing import Final

from worker.core.classify import Break, was_sent

_NOTHING: Final = Decimal(0)
# Who stands in front of the model gave up waiting for it; the model may have worked on.
_GAVE_UP: Final = frozenset(
    {
        408,  # the upstream's own timeout
        502,  # a gateway whose connection to the model broke
        504,  # a gateway whose patience ended
        520,  # Cloudflare: the server answered what cannot be used
        522,  # Cloudflare: no connection in time, or not any more
        524,  # Cloudflare: no answer in time
    }
)
_REFUSALS: Final = (3, 4, 5)


def cost_of_refusal(status: int) -> Decimal | None:
    """Give what an answer with this status cost that told no usage: zero for an error, None where nobody knows."""
    return _NOTHING if status // 100 in _REFUSALS and status not in _GAVE_UP else None


def cost_of_break(broken: Break) -> Decimal | None:
    """Give what a call without an answer cost: zero where it was never sent, or never worked on; else nobody knows."""
    return None if was_sent(broken) and broken is not Break.NOT_TAKEN else _NOTHING
