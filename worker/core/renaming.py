"""Puts another model's name into a request's body, and changes nothing else of it."""

import json
import re
from typing import Final

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_value_at: Final = json.JSONDecoder().raw_decode


def renamed(body: bytes, name: str) -> bytes:
    """Give the body with `name` as the value of its own "model"; every other byte stays.

    Only what stands before that value is read, by the parser that `content` reads bodies with, so that both
    find the same member: behind escapes in its key, and not the "model" of an object inside. That no key
    stands twice is known from there: such a body has a flaw and is never sent.

    Raises:
        ValueError: the body is no JSON object with a "model".
    """
    text = body.decode()
    at = _past_space(text, 0)
    if text[at : at + 1] != "{":
        raise ValueError("the body is no JSON object")
    key = None
    while key != "model":  # `at` is at the brace, or at the comma before the next member
        key, at = _value_at(text, _past_space(text, at + 1))
        start = _past_space(text, _past_space(text, at) + 1)  # past the colon
        _, end = _value_at(text, start)
        at = _past_space(text, end)
    head = len(text[:start].encode())
    tail = head + len(text[start:end].encode())
    return b"".join((body[:head], json.dumps(name).encode(), body[tail:]))


def _past_space(text: str, at: int) -> int:
    """Give the place of the next character that is no white space of JSON's."""
    match = _SPACE.match(text, at)
    return at if match is None else match.end()
