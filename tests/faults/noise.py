"""Seeded noise: values of every type that AMQP, JSON and HTTP know, in order, odd, and broken.

Every text that stands for content has `MARK` in it, so that whoever quotes it shows himself.
"""

import json
import random
import struct
from typing import Any, Final

from tests.faults.rawamqp import long, short

MARK: Final = "ZQXJ"
_BYTES: Final = MARK.encode()
_INTEGERS: Final = (
    0,
    1,
    -1,
    2,
    127,
    255,
    256,
    65_535,
    2**31 - 1,
    -(2**31),
    2**53,
    2**63 - 1,
    -(2**63),
)
_SIZES: Final = {
    b"I": 4,
    b"i": 4,
    b"s": 2,
    b"u": 2,
    b"b": 1,
    b"B": 1,
    b"f": 4,
    b"d": 8,
    b"D": 5,
    b"T": 8,
    b"t": 1,
}
_BROKEN: Final = (b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\x00", b"\xf0\x9f", b"\xe2\x82")


class Noise:
    """A source of values; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311  # chance for a test, not for a secret

    def often(self, share: float) -> bool:
        """Be true in this share of cases."""
        return self.chance.random() < share

    def word(self) -> bytes:
        """Give text with the mark, mostly readable."""
        word = _BYTES + b"%x" % self.chance.getrandbits(24)
        if self.often(0.15):
            at = self.chance.randrange(len(word))
            word = word[:at] + self.chance.choice(_BROKEN) + word[at:]
        return word * (self.chance.choice((1, 1, 1, 1, 5, 20)))

    def integer(self) -> int:
        """Give an integer of any size that fits 64 bits."""
        if self.often(0.5):
            return self.chance.choice(_INTEGERS)
        return self.chance.getrandbits(self.chance.randrange(1, 64)) * self.chance.choice((1, -1))

    def value(self, depth: int = 0) -> bytes:
        """Give a header's value with its type before it, of any type, nested now and then."""
        drawn = self.chance.random()
        if drawn < 0.65 or depth > 11:
            return self._plain()
        if drawn < 0.85:
            several = range(self.chance.randrange(3))
            if drawn < 0.75:
                return b"A" + long(b"".join(self.value(depth + 1) for _ in several))
            return b"F" + self.table([self.named(self.word()[:40], depth + 1) for _ in several])
        letter = self.chance.choice(tuple(_SIZES))
        return letter + self.chance.randbytes(_SIZES[letter])

    def _plain(self) -> bytes:
        drawn = self.chance.random()
        if drawn < 0.5:
            return b"S" + long(self.word())
        if drawn < 0.8:
            return b"l" + struct.pack(">q", self.integer())
        return b"x" + long(self.word()) if drawn < 0.9 else b"V"

    def named(self, name: bytes, depth: int = 1) -> bytes:
        """Give a table's field."""
        return short(name[:255]) + self.value(depth)

    def table(self, fields: list[bytes]) -> bytes:
        """Give a table; now and then with a wrong length."""
        raw = b"".join(fields)
        if self.often(0.02):
            return struct.pack(">I", self.chance.getrandbits(32)) + raw
        return long(raw)

    def damaged(self, raw: bytes, *, share: float = 0.1) -> bytes:
        """Give bytes as they are, or in this share of cases cut, flipped or repeated."""
        if not raw or not self.often(share):
            return raw
        at = self.chance.randrange(len(raw))
        match self.chance.randrange(4):
            case 0:
                return raw[:at]
            case 1:
                return raw[:at] + bytes([raw[at] ^ (1 << self.chance.randrange(8))]) + raw[at + 1 :]
            case 2:
                return raw[:at] + self.chance.choice(_BROKEN) + raw[at:]
            case _:
                return raw + raw[at:]

    def json(self, depth: int = 0) -> Any:  # noqa: ANN401  # it is any JSON value
        """Give a JSON value, and some that only nearly are one."""
        drawn = self.chance.random()
        if drawn < 0.3:
            return self.word().decode(errors="surrogateescape" if drawn < 0.02 else "replace")
        if drawn < 0.5:
            return self.integer()
        if drawn < 0.6:
            return self.chance.choice(
                (None, True, False, 1.5, -0.0, 1e308, float("nan"), float("inf"))
            )
        if drawn < 0.7 or depth > 4:
            return ""
        if drawn < 0.85:
            return [self.json(depth + 1) for _ in range(self.chance.randrange(4))]
        return {
            self.word().decode(errors="replace"): self.json(depth + 1)
            for _ in range(self.chance.randrange(4))
        }

    def written(self, document: object) -> bytes:
        """Write a JSON document, damaged now and then, in one of several encodings."""
        text = json.dumps(document)
        if self.often(0.02):
            text = text.replace("}", f', "seed": {"9" * 5000}}}', 1)
        coding = (
            "utf-8" if self.often(0.95) else self.chance.choice(("utf-16", "utf-32", "utf-8-sig"))
        )
        return self.damaged(text.encode(coding), share=0.15)
