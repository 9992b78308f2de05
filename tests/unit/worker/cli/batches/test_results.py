import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer_sdk import JobCancelled, JobError, JobExpired, JobFailed, Reply, Source, Timings
from worker.cli.batches.format import Flaw, Line
from worker.cli.batches.results import RESULT_BEGINS, Done, flaw_line, read_result, result_line

JOB = "0123456789abcdef0123456789abcdef"
LINE = Line(number=1, custom_id='quo"té', path="/v1/embeddings", body=b"{}")
SOON = timedelta(seconds=1)


def reply(body: bytes) -> Reply:
    return Reply(
        submission_id="s",
        job_id=JOB,
        body=body,
        source=Source.UPSTREAM,
        endpoint="e",
        run=1,
        attempts=1,
        tries=1,
        timings=Timings(waited=SOON, upstream=SOON, total=SOON),
    )


def test_an_answer_is_a_response_with_the_upstreams_own_bytes() -> None:
    body = b'{\r\n "model": "m",\n "n": 1.50, "t": "a\\nb" }\n'
    written, success = result_line(LINE, reply(body))
    assert success
    assert written.count(b"\n") == 1
    assert b'"n": 1.50' in written
    result = json.loads(written)
    assert result == {
        "id": result["id"],
        "custom_id": 'quo"té',
        "response": {"status_code": 200, "request_id": JOB, "body": json.loads(body)},
        "error": None,
    }
    assert result["id"].startswith("batch_req_")
    assert written.startswith(RESULT_BEGINS)


@pytest.mark.parametrize("body", [b"<html>", b'{"n": NaN}', b"\xff", b"", b"[" * 100_000])
def test_an_answer_that_is_no_json_is_an_error(body: bytes) -> None:
    written, success = result_line(LINE, reply(body))
    assert not success
    assert json.loads(written)["response"] is None
    assert json.loads(written)["error"]["code"] == "bad_response"


def test_an_http_error_of_the_upstream_is_a_response_with_its_status() -> None:
    error = JobFailed(
        "it failed", submission_id="s", job_id=JOB, kind="overloaded", status=529, code="\ud800"
    )
    written, success = result_line(LINE, error)
    result = json.loads(written)
    assert not success
    assert result["error"] is None
    assert result["response"]["status_code"] == 529
    assert result["response"]["body"]["error"]["message"] == "it failed"
    assert result["response"]["body"]["error"]["type"] == "overloaded"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (JobExpired("late", submission_id="s", job_id=JOB, kind="expired"), "expired"),
        (JobExpired("late", submission_id="s", job_id=JOB), "expired"),
        (JobCancelled("gone", submission_id="s", job_id=JOB, kind="cancelled"), "cancelled"),
        (
            JobFailed("odd", submission_id="s", job_id=JOB, kind="redirected", status=302),
            "redirected",
        ),
        (
            JobFailed("odd", submission_id="s", job_id=JOB, kind="bad_response", status=200),
            "bad_response",
        ),
    ],
    ids=str,
)
def test_every_other_end_is_an_error(error: JobError, code: str) -> None:
    written, success = result_line(LINE, error)
    result = json.loads(written)
    assert not success
    assert result["response"] is None
    assert result["error"] == {"code": code, "message": str(error)}


def test_a_flaw_is_told_with_its_line() -> None:
    written = flaw_line(Flaw(number=17, custom_id=None, code="invalid_json", message="column 3"))
    assert json.loads(written) == {
        "line": 17,
        "custom_id": None,
        "error": {"code": "invalid_json", "message": "column 3"},
    }
    assert written.endswith(b"}\n")


@given(
    custom_id=st.text(min_size=1),
    body=st.dictionaries(st.text(), st.text() | st.floats(allow_nan=False, allow_infinity=False)),
    indent=st.none() | st.integers(0, 3),
    success=st.booleans(),
)
def test_a_result_is_one_line_that_is_read_again_as_what_it_tells(
    *, custom_id: str, body: dict[str, Any], indent: int | None, success: bool
) -> None:
    line = Line(number=1, custom_id=custom_id, path="/v1/embeddings", body=custom_id.encode())
    failed = JobFailed("no", submission_id="s", job_id=JOB, status=400)
    given_body = json.dumps(body, indent=indent, ensure_ascii=False).encode()
    written, told = result_line(line, reply(given_body) if success else failed)
    assert written.find(b"\n") == len(written) - 1
    assert told == success
    assert read_result(written) == Done(custom_id=custom_id, digest=line.digest, success=success)
    if success:
        assert json.loads(written)["response"]["body"] == body


@pytest.mark.parametrize("id_", [None, "batch_req_123", "batch_req_" + "x" * 32])
def test_a_result_with_anothers_id_tells_no_request(id_: str | None) -> None:
    document = {"id": id_, "custom_id": "a", "response": {"status_code": 200}, "error": None}
    done = read_result(json.dumps(document).encode())
    assert done == Done(custom_id="a", digest=None, success=True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b'{"custom_id": "a"}',
        b'{"id": 1, "custom_id": "a", "response": null, "error": null}',
    ],
)
def test_what_is_no_result_is_none(data: bytes) -> None:
    assert read_result(data) is None
