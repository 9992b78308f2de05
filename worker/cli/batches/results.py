"""OpenAI's Batch format: the line that tells what became of a request, written and read again. Pure.

Output: `{"id", "custom_id", "response": {"status_code", "request_id", "body"} | null, "error": {"code", "message"} | null}`
Errors: `{"line", "custom_id" | null, "error": {"code", "message"}}`, for lines that have no result.

An `id` ends in a digest of the request, so that a result can be told from one of another request under the same
custom id. A `request_id` is the job's id.
"""

import json
from dataclasses import dataclass
from typing import Final, NoReturn

from producer_sdk import JobError, Reply
from worker.cli.batches.format import Flaw, Line

_ID_PREFIX: Final = "batch_req_"
RESULT_BEGINS: Final = f'{{"id": "{_ID_PREFIX}'.encode()
"""How every line of an output begins."""

_DIGEST_HEX: Final = 16
_SUCCESS: Final = range(200, 300)
_ERRORS_FROM: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a line of the output tells: whose it is, of which request (None: not told), and whether it is a success."""

    custom_id: str
    digest: int | None
    success: bool


def result_line(line: Line, answer: Reply | JobError) -> tuple[bytes, bool]:
    """Give the output's line, with its end, and whether it tells a success.

    An HTTP error of the upstream is a response with its status; `error` is for every other ending. The upstream's
    JSON stands there byte for byte, but for line breaks between its tokens.
    """
    if isinstance(answer, Reply):
        if (body := _one_line(answer.body)) is not None:
            return _result(line, answer.job_id, _response(200, answer.job_id, body), None), True
        message = f"the upstream's answer of job {answer.job_id} is no JSON"
        return _result(line, answer.job_id, None, ("bad_response", message)), False
    job_id = str(answer.job_id)
    if answer.status is not None and answer.status >= _ERRORS_FROM:
        error = {"message": str(answer), "type": answer.kind, "param": None, "code": answer.code}
        body = json.dumps({"error": error}).encode()
        return _result(line, job_id, _response(answer.status, job_id, body), None), False
    return _result(line, job_id, None, (answer.kind or "expired", str(answer))), False


def flaw_line(flaw: Flaw) -> bytes:
    """Give the error file's line, with its end."""
    told = {
        "line": flaw.number,
        "custom_id": flaw.custom_id,
        "error": {"code": flaw.code, "message": flaw.message},
    }
    return json.dumps(told, ensure_ascii=False).encode() + b"\n"


def read_result(data: bytes) -> Done | None:
    """Give what a line of the output tells; None: it is no whole line of an output."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    match document:
        case {"custom_id": str(custom_id), "id": id_, "response": {"status_code": int(status)}}:
            success = status in _SUCCESS
        case {"custom_id": str(custom_id), "id": id_, "response": None, "error": dict()}:
            success = False
        case _:
            return None
    return Done(custom_id=custom_id, digest=_digest_in(id_), success=success)


def _one_line(body: bytes) -> bytes | None:
    """Give a JSON text as one line; None: it is no JSON. Inside its strings there are no line breaks."""
    try:
        json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return body.strip().replace(b"\r", b" ").replace(b"\n", b" ")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _response(status: int, request_id: str, body: bytes) -> bytes:
    return b'{"status_code": %d, "request_id": "%b", "body": %b}' % (
        status,
        request_id.encode(),
        body,
    )


def _result(
    line: Line, job_id: str, response: bytes | None, error: tuple[str, str] | None
) -> bytes:
    told = None if error is None else {"code": error[0], "message": error[1]}
    return b'%b%b%016x", "custom_id": %b, "response": %b, "error": %b}\n' % (
        RESULT_BEGINS,
        job_id[:_DIGEST_HEX].encode(),
        line.digest,
        json.dumps(line.custom_id, ensure_ascii=False).encode(),
        b"null" if response is None else response,
        json.dumps(told, ensure_ascii=False).encode(),
    )


def _digest_in(id_: object) -> int | None:
    """Give the request's digest that an id of ours ends in."""
    if not isinstance(id_, str) or len(id_) != len(_ID_PREFIX) + 2 * _DIGEST_HEX:
        return None
    try:
        return int(id_[-_DIGEST_HEX:], 16)
    except ValueError:
        return None
