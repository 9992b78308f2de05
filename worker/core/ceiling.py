"""The most that a call may be charged for, read from its request before it is made.

It is an upper bound where the request bounds its output and has nothing but text and pictures: a token is at least
one byte of the body, and no more is answered than was asked for. It is a guess for a request that names no bound, and
for recordings and files. `estimate` guesses what a call will use on average instead, for limits that may be off.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

# What an answer is taken to be long at most where the request does not say.
UNASKED_OUTPUT: Final = 8192
# What a picture costs at most, whatever its bytes: 2833 + 8 x 5667 for 8 tiles at gpt-4o-mini, and less elsewhere.
PICTURE: Final = 50_000
_BOUNDS: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_CHOICES: Final = ("n", "best_of")
_NO_OUTPUT: Final = frozenset({"/v1/embeddings"})
_MOST: Final = 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The most tokens that a call may be charged for; `service_tier` is the one that the request asks for."""

    prompt_tokens: int
    output_tokens: int
    service_tier: str | None = None


def ceiling(path: str, body: bytes) -> Ceiling:
    """Give the bounds of a request by its body. Raises nothing for what is in it."""
    try:
        asked = json.loads(body.decode())
    except (ValueError, RecursionError):
        asked = None
    return ceiling_of(path, body, asked if isinstance(asked, dict) else {})


def ceiling_of(path: str, body: bytes, asked: Mapping[str, object]) -> Ceiling:
    """Give the bounds of a request whose body is read already: `asked` is what stands in it."""
    service_tier = asked.get("service_tier")
    # The name of a picture's key may be escaped; where it cannot stand in the body, nothing is searched for it.
    pictures = b"image_url" in body or b"\\u" in body
    return Ceiling(
        prompt_tokens=len(body) + (_pictures(asked) if pictures else 0),
        output_tokens=0 if path in _NO_OUTPUT else _output(asked),
        service_tier=service_tier if isinstance(service_tier, str) else None,
    )


def _output(asked: Mapping[str, object]) -> int:
    bound = _highest(asked, _BOUNDS) or UNASKED_OUTPUT
    choices = _highest(asked, _CHOICES) or 1
    prompts = asked.get("prompt")
    # One prompt as a list of tokens is one prompt; to take it for several errs upwards.
    several = max(len(prompts), 1) if isinstance(prompts, list) else 1
    return bound * choices * several


def _pictures(asked: object) -> int:
    """Give the tokens of all pictures in place of the bytes that they take inside the body."""
    tokens, left = 0, [asked]
    while left:
        match left.pop():
            case {"image_url": {"url": str(url)} | str(url)}:
                tokens += PICTURE - len(url)
            case dict() as inner:
                left += inner.values()
            case list() as items:
                left += items
            case _:
                pass
    return tokens


def _highest(asked: Mapping[str, object], names: Sequence[str]) -> int:
    """Give the highest of the numbers under these names; 0: none of them is one that counts."""
    highest = 0
    for name in names:
        if name in asked:
            value = asked[name]
            # No bool, which is an int to `isinstance`.
            if type(value) is int and highest < value <= _MOST:
                highest = value
    return highest
