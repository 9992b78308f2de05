"""How many tokens a call will use, told before it from the request's bytes and from what its model used lately.

A guess that is off costs little: the call is settled by its usage. So the body is not parsed and no tokenizer asked:
it is searched for a few markers.
"""

import re
from dataclasses import dataclass
from typing import Final

from worker.core.model import Usage

# OpenAI's rule of thumb for English text. JSON around it and other languages are learned.
_BYTES_A_TOKEN: Final = 4
# A picture, a recording or a file inside the request: its size in bytes says little. A picture of 1024 x 1024 takes 765
# tokens by OpenAI's tiles, 1,024 by its patches and about 1,400 by Anthropic's rule (width x height / 750).
_MEDIA_TOKENS: Final = 1000
# Of a model that has answered nothing yet, for a request that names no bound.
_FIRST_OUTPUT: Final = 1000
# What a new call counts in the means once there are many: those of about the last forty.
_LEAST_WEIGHT: Final = 0.05
# How far the guess of a prompt is corrected at most.
_MOST_FACTOR: Final = 8.0

# A quote inside a JSON string is escaped, so a text that speaks of a bound does not look like one.
_MOST_OUTPUT: Final = re.compile(rb'"max_(?:completion_|output_)?tokens"\s*:\s*(\d{1,9})\b')
_PICTURE: Final = re.compile(rb'"image_url"\s*:')
_RECORDING: Final = re.compile(
    rb'"input_audio"\s*:\s*\{[^"{}]*(?:"format"\s*:\s*"\w*"\s*,\s*)?"data"\s*:\s*"'
)
_ENCODED: Final = b";base64,"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """A request as its bytes show it: a guess of its prompt's tokens, and the most output it asks for."""

    prompt: int
    most_output: int | None = None


def extent(body: bytes) -> Extent:
    """Look at a request's body; any bytes will do.

    Media inside it count by their number, everything else by its bytes.
    """
    media, media_bytes = _media(body)
    at = body.find(b'"max_')
    bound = _MOST_OUTPUT.search(body, at) if at >= 0 else None
    return Extent(
        prompt=(len(body) - media_bytes) // _BYTES_A_TOKEN + media * _MEDIA_TOKENS,
        most_output=None if bound is None else int(bound[1]),
    )


def _media(body: bytes) -> tuple[int, int]:
    """Give how many media a body has, and how many of its bytes are theirs."""
    number, size, at = 0, 0, 0
    while (at := body.find(_ENCODED, at)) >= 0:
        number, size, at = _past(body, number, size, at)
    if b'"input_audio"' in body:
        for found in _RECORDING.finditer(body):
            number, size, _ = _past(body, number, size, found.end())
    if b'"image_url"' in body:  # also those that are named by a URL
        number = max(number, len(_PICTURE.findall(body)))
    return number, size


def _past(body: bytes, number: int, size: int, start: int) -> tuple[int, int, int]:
    end = body.find(b'"', start)
    end = len(body) if end < 0 else end
    return number + 1, size + end - start, end


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What calls of one model used on average: output, prompt, and what was guessed of the prompt, in tokens.

    Means over the first calls, and then exponentially weighted ones.
    """

    calls: int = 0
    output: float = 0.0
    prompt: float = 0.0
    guessed: float = 0.0

    def tokens(self, asked: Extent) -> int:
        """Give how many tokens a request will use, at least one.

        Its output is as much as such calls had on average, and never more than it asks for.
        """
        output = self.output if self.calls else _FIRST_OUTPUT
        if asked.most_output is not None:
            output = min(output, asked.most_output) if self.calls else asked.most_output
        return max(1, round(asked.prompt * self._factor() + output))

    def after(self, asked: Extent, usage: Usage) -> "Learned":
        """Give what is learned with one more call."""
        calls, made = self.calls + 1, usage.completion_tokens + usage.hidden_tokens
        weight = max(1 / calls, _LEAST_WEIGHT)
        return Learned(
            calls=calls,
            output=self.output + weight * (made - self.output),
            prompt=self.prompt + weight * (usage.prompt_tokens - self.prompt),
            guessed=self.guessed + weight * (asked.prompt - self.guessed),
        )

    def _factor(self) -> float:
        if self.guessed <= 0 or self.prompt <= 0:
            return 1.0
        return min(max(self.prompt / self.guessed, 1 / _MOST_FACTOR), _MOST_FACTOR)


def spent(usage: Usage) -> int:
    """Give how many tokens a call has used, as limits count them."""
    return usage.total_tokens + usage.hidden_tokens
