"""OpenAI-shaped bodies: completions, embeddings, models, errors. Pure.

The text of a completion depends on nothing but the request's bytes, so that the same request always
gives the same text. Token counts are characters divided by four, rounded up.
"""

import base64
import random
from array import array
from collections.abc import Callable, Mapping
from typing import Final

from simulator.ask import Ask

Content = dict[str, object]

MODELS: Final = ("gpt-large", "gpt-small", "embedding-small")
REDIRECTED: Final = "/v1/redirected"
"""Where the fault `redirect` points; it answers 200, and its calls are logged as any other."""

_CHARS_PER_TOKEN: Final = 4
_DIMENSIONS: Final = 8
_MAX_DIMENSIONS: Final = 4096
_MAX_CHOICES: Final = 128
_NO_MOST: Final = 1 << 20
_PROMPTS: Final = ("messages", "prompt", "input")
_TEXT: Final = (
    "amber basket burrow carrot clover dawn delta ember fern field gentle harbor hedge hollow "
    "island juniper kettle lantern linden maple meadow mellow moss nettle orchard pebble quiet "
    "rabbit river saffron shade silver sparrow thicket tunnel valley violet warren willow yarrow"
)
_WORDS: Final = tuple(_TEXT.split())


def error(message: str, *, kind: str, code: str | None = None, param: str | None = None) -> Content:
    """Give an error body. `kind` is OpenAI's `type`."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def answer(ask: Ask, *, call: int, created: int) -> tuple[int, Content]:
    """Give the status and body of a well-behaved answer; a request that is wrong gets its 4xx."""
    if ask.path == "/v1/models" and ask.method == "GET":
        return 200, _models(created)
    if ask.path == REDIRECTED:
        return 200, _chat(ask, call=call, created=created)
    wrong = _wrong(ask)
    if wrong is not None:
        return wrong
    _, make = _ROUTES[ask.path]
    return 200, make(ask, call=call, created=created)


def tokens_asked(ask: Ask) -> int:
    """Estimate the tokens that a request asks for, as a rate limit takes it: prompt, or the most that it may be answered."""
    fields = ask.fields or {}
    prompt = _tokens([fields.get(name) for name in _PROMPTS])
    choices = _whole(fields.get("n"), otherwise=1, most=_MAX_CHOICES)
    return max(prompt, choices * (_most_tokens(fields) or 0))


def tokens_used(content: Content) -> int | None:
    """Give the tokens that an answer's usage counts in all; None: it has no usage."""
    match content.get("usage"):
        case {"total_tokens": int(total)}:
            return total
        case _:
            return None


def _wrong(ask: Ask) -> tuple[int, Content] | None:
    """Give the refusal of a request that cannot be answered, or None."""
    if ask.path not in _ROUTES:
        return 404, _invalid(f"Unknown path: {ask.method} {ask.path}", code="unknown_url")
    if ask.method != "POST":
        return 405, _invalid(f"{ask.path} takes POST, not {ask.method}")
    if ask.fields is None:
        return 400, _invalid("The body is not a JSON object.")
    for name in ("model", _ROUTES[ask.path][0]):
        if not ask.fields.get(name):
            return 400, _invalid(f"Missing required parameter: '{name}'.", param=name)
    if ask.fields.get("stream"):
        return 400, _invalid(
            "The simulator does not stream: leave out 'stream' or set it to false.", param="stream"
        )
    return None


def _invalid(message: str, *, param: str | None = None, code: str | None = None) -> Content:
    return error(message, kind="invalid_request_error", param=param, code=code)


def _models(created: int) -> Content:
    data = [
        {"id": name, "object": "model", "created": created, "owned_by": "simulator"}
        for name in MODELS
    ]
    return {"object": "list", "data": data}


def _chat(ask: Ask, *, call: int, created: int) -> Content:
    texts = _texts(ask)
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": None,
            "finish_reason": reason,
        }
        for index, (text, reason) in enumerate(texts)
    ]
    return {
        "id": f"chatcmpl-{ask.sha256[:24]}-{call}",
        "object": "chat.completion",
        "created": created,
        "model": ask.model,
        "choices": choices,
        "usage": _usage((ask.fields or {}).get("messages"), *(text for text, _ in texts)),
    }


def _completion(ask: Ask, *, call: int, created: int) -> Content:
    texts = _texts(ask)
    choices = [
        {"index": index, "text": text, "logprobs": None, "finish_reason": reason}
        for index, (text, reason) in enumerate(texts)
    ]
    return {
        "id": f"cmpl-{ask.sha256[:24]}-{call}",
        "object": "text_completion",
        "created": created,
        "model": ask.model,
        "choices": choices,
        "usage": _usage((ask.fields or {}).get("prompt"), *(text for text, _ in texts)),
    }


def _embeddings(ask: Ask, *, call: int, created: int) -> Content:
    del call, created  # an embedding has neither an id nor a date
    fields = ask.fields or {}
    given = fields.get("input")
    single = not isinstance(given, list) or all(isinstance(part, int) for part in given)
    inputs = [given] if single or not isinstance(given, list) else given
    dimensions = _whole(fields.get("dimensions"), otherwise=_DIMENSIONS, most=_MAX_DIMENSIONS)
    encode = _packed if fields.get("encoding_format") == "base64" else _plain
    data = [
        {"object": "embedding", "index": index, "embedding": encode(_vector(part, dimensions))}
        for index, part in enumerate(inputs)
    ]
    tokens = _tokens(given)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": ask.model, "usage": usage}


_Make = Callable[..., Content]
_ROUTES: Final[Mapping[str, tuple[str, _Make]]] = {
    "/v1/chat/completions": ("messages", _chat),
    "/v1/completions": ("prompt", _completion),
    "/v1/embeddings": ("input", _embeddings),
}


def _texts(ask: Ask) -> list[tuple[str, str]]:
    """Give each choice's text and finish reason, cut where the request's token limit says so."""
    fields = ask.fields or {}
    most = (_most_tokens(fields) or _NO_MOST) * _CHARS_PER_TOKEN
    texts: list[tuple[str, str]] = []
    for index in range(_whole(fields.get("n"), otherwise=1, most=_MAX_CHOICES)):
        seed = int(ask.sha256[:16], 16) + index
        words = [_WORDS[(seed >> shift) % len(_WORDS)] for shift in range(12 + seed % 24)]
        text = " ".join(words).capitalize() + "."
        texts.append((text[:most], "length" if len(text) > most else "stop"))
    return texts


def _most_tokens(fields: Mapping[str, object]) -> int | None:
    """Give how many tokens each choice may have; None: the request does not say."""
    limit = fields.get("max_completion_tokens") or fields.get("max_tokens")
    return _whole(limit, otherwise=0, most=_NO_MOST) or None


def _usage(prompt: object, *texts: str) -> Content:
    prompt_tokens, completion_tokens = _tokens(prompt), sum(map(_tokens, texts))
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def _tokens(value: object) -> int:
    """Count the tokens of a prompt: of every text inside it, and each number as one token."""
    chars, left = 0, [value]
    while left:  # a loop and a list: a client may nest its prompt deeper than Python's stack
        match left.pop():
            case str(text):
                chars += len(text)
            case int():
                chars += _CHARS_PER_TOKEN
            case list(parts):
                left.extend(parts)
            case dict(fields):
                left.extend(fields.values())
            case _:
                pass
    return -(-chars // _CHARS_PER_TOKEN)


def _whole(value: object, *, otherwise: int, most: int) -> int:
    return min(value, most) if isinstance(value, int) and value > 0 else otherwise


def _vector(part: object, dimensions: int) -> list[float]:
    chance = random.Random(repr(part))  # noqa: S311 - a reproducible vector, nothing secret
    return [round(chance.uniform(-1, 1), 6) for _ in range(dimensions)]


def _plain(vector: list[float]) -> object:
    return vector


def _packed(vector: list[float]) -> object:
    return base64.b64encode(array("f", vector).tobytes()).decode()
