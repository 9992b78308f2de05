"""Puts another model's name into a request's body, and changes nothing else of it."""

import json
import re
from typing import Final

_SPACE: Final = re.compile(r"[ \t\n\r]*")
# Where almost every client writes it: first of all, and nothing in it that has to be escaped.
_FIRST: Final = re.compile(rb"""[ \t\n\r]*\{[ \t\n\r]*"model"[ \t\n\r]*:[ \t\n\r]*("[^"\\]*")""")
_value_at: Final = json.JSONDecoder().raw_decode


def renamed(body: bytes, name: str) -> bytes:
    """Give the body with `name` as the value of its own "model"; every other byte stays.

    Only what stands before that value is read, by the parser that `content` reads bodies with, so that both
    find the same member: behind escapes in its key, and not the "model" of an object inside. That no key
    stands twice is known from there: such a body has a flaw and is never sent.

    Raises:
        ValueError: the body is no JSON object with a "model".
    """
    first = _FIRST.match(body)
    start, end = _place(body) if first is None else first.span(1)
    return b"".join((body[:start], json.dumps(name).encode(), body[end:]))


def _place(body: bytes) -> tuple[int, int]:
    """Give where the value of the body's own "model" begins and ends."""
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
    return head, head + len(text[start:end].encode())


def _past_space(text: str, at: int) -> int:
    """Give the place of the next character that is no white space of JSON's."""
    match = _SPACE.match(text, at)
    return at if match is None else match.end()
