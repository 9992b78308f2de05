import asyncio
import json
import os
import signal
import tracemalloc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from producer_sdk import (
    AccessRefused,
    Completions,
    InvalidRequest,
    PublishRefused,
    Reply,
    Request,
    Source,
    TierUnknown,
    WarrenError,
)
from producer_sdk.testing import SILENCE, Failure, FakeCompletionClient, Success
from producer_sdk.wire import CompletionReply, CompletionRequest, Status
from worker.cli.batches.known import Known
from worker.cli.batches.progress import Tally
from worker.cli.batches.running import EarlyReplies, Plan, Run
from worker.cli.batches.stopping import Stopped, stopping
from worker.cli.batches.writing import LinesFile, ResultsFile

ANSWER = {"model": "m", "choices": []}


def line(custom_id: object, **body: object) -> bytes:
    document = {"custom_id": custom_id, "method": "POST", "url": "/v1/embeddings", "body": body}
    return json.dumps(document).encode() + b"\n"


@dataclass
class Batch:
    """A batch in a folder, run as often as a test wants."""

    folder: Path
    name: str = "batch"
    early: EarlyReplies = field(default_factory=lambda: EarlyReplies(10))

    @property
    def output(self) -> Path:
        return self.folder / "out.jsonl"

    @property
    def source(self) -> Path:
        return self.folder / "in.jsonl"

    async def run(self, client: Completions, lines: Iterable[bytes] | None = None) -> Tally:
        if lines is not None:
            self.source.write_bytes(b"".join(lines))
        known, results = Known(), ResultsFile.continued(self.output)
        errors = LinesFile.emptied(self.folder / "errors.jsonl")
        descriptor = os.open(self.source, os.O_RDONLY)
        try:
            for done in results.results():
                known.restore(done)
            plan = Plan(
                name=self.name,
                template=Request(tier="t", body=b""),
                model=None,
                in_flight=5,
            )
            run = Run(plan, output=results, errors=errors, known=known, early=self.early)
            await run.run(client, descriptor)
            return run.tally
        finally:
            os.close(descriptor)
            results.close()
            errors.close()

    def results(self) -> dict[str, Mapping[str, Any]]:
        found = [json.loads(each) for each in self.output.read_bytes().splitlines()]
        by_id = {each["custom_id"]: each for each in found}
        assert len(by_id) == len(found), "a result is there twice"
        return by_id

    def errors(self) -> list[tuple[int, str]]:
        text = (self.folder / "errors.jsonl").read_bytes()
        return [
            (each["line"], each["error"]["code"]) for each in map(json.loads, text.splitlines())
        ]


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return Batch(tmp_path)


async def test_every_good_line_has_a_result_and_every_bad_one_is_told_with_its_number(
    batch: Batch,
) -> None:
    client = FakeCompletionClient(ANSWER)
    lines = [line("a"), b"broken\n", line("b"), b"\n", line("a"), line("c", stream=True)]
    tally = await batch.run(client, lines)
    assert set(batch.results()) == {"a", "b"}
    assert sorted(batch.errors()) == [
        (2, "invalid_json"),
        (5, "duplicate_custom_id"),
        (6, "invalid_request"),
    ]
    assert (tally.answered, tally.flawed, tally.lines) == (2, 3, 5)


async def test_ends_of_jobs_are_results_and_what_has_no_end_is_tried_by_the_next_run(
    batch: Batch,
) -> None:
    answers: dict[str, Failure | WarrenError] = {
        "failed": Failure(kind="overloaded", status=529),
        "expired": Failure(kind="expired", ending=Status.EXPIRED),
        "cancelled": Failure(kind="cancelled", ending=Status.CANCELLED),
        "conflict": Failure(kind="idempotency_conflict", ending=Status.REFUSED),
        "gone": Failure(kind="result_expired", ending=Status.REFUSED),
        "large": PublishRefused("too large", submission_id="s"),
        "rule": InvalidRequest("a rule"),
    }
    client = FakeCompletionClient(lambda request: answers[json.loads(_bytes(request))["is"]])
    tally = await batch.run(client, [line(name, **{"is": name}) for name in answers])
    results = batch.results()
    assert results["failed"]["response"]["status_code"] == 529
    assert results["expired"]["error"]["code"] == "expired"
    assert results["cancelled"]["error"]["code"] == "cancelled"
    assert len(results) == 3
    codes = {"idempotency_conflict", "result_expired", "publish_refused", "invalid_request"}
    assert {code for _, code in batch.errors()} == codes
    assert (tally.failed, tally.flawed) == (3, 4)

    healed = FakeCompletionClient(ANSWER)
    tally = await batch.run(healed, [line(name, **{"is": name}) for name in answers])
    assert len(healed.requests) == 4
    assert (tally.failed_before, tally.answered, tally.flawed) == (3, 4, 0)
    assert set(batch.results()) == set(answers)


def _bytes(request: Request) -> bytes:
    assert isinstance(request.body, bytes)
    return request.body


async def test_a_second_run_submits_only_what_has_no_result_and_under_the_same_keys(
    batch: Batch,
) -> None:
    first = FakeCompletionClient(ANSWER)
    await batch.run(first, [line(n) for n in "abc"])
    whole = batch.output.read_bytes().splitlines(keepends=True)
    batch.output.write_bytes(whole[0] + whole[1][:30])
    second = FakeCompletionClient(ANSWER)
    tally = await batch.run(second, [line(n) for n in "abc"])
    assert (tally.answered_before, tally.answered) == (1, 2)
    keys = {request.idempotency_key for request in first.requests}
    assert {request.idempotency_key for request in second.requests} < keys
    assert set(batch.results()) == {"a", "b", "c"}


async def test_a_line_that_was_changed_after_its_result_is_told_and_not_run(batch: Batch) -> None:
    await batch.run(FakeCompletionClient(ANSWER), [line("a", n=1), line("b", n=1)])
    second = FakeCompletionClient(ANSWER)
    await batch.run(second, [line("a", n=2), line("b", n=1)])
    assert second.requests == []
    assert batch.errors() == [(1, "idempotency_conflict")]


async def test_another_batch_has_other_keys(batch: Batch) -> None:
    client = FakeCompletionClient(ANSWER)
    await batch.run(client, [line("a")])
    batch.output.unlink()
    batch.name = "other"
    await batch.run(client, [line("a")])
    assert len({request.idempotency_key for request in client.requests}) == 2


@pytest.mark.parametrize(
    "error", [TierUnknown(submission_id="s", tier="t", lane="bulk"), AccessRefused("no")], ids=repr
)
async def test_what_no_line_can_be_blamed_for_stops_the_run_and_keeps_what_is_there(
    batch: Batch, error: WarrenError
) -> None:
    client = FakeCompletionClient(error)
    client.script(ANSWER, when=lambda request: b"good" in _bytes(request))
    with pytest.raises(type(error)):
        await batch.run(client, [line("a", good=1), line("b"), line("c")])
    assert set(batch.results()) <= {"a"}
    assert batch.errors() == []


async def test_a_reply_that_waited_since_an_earlier_run_serves_when_its_body_is_kept_nowhere_else(
    batch: Batch,
) -> None:
    gone = Failure(kind="result_expired", ending=Status.REFUSED)
    async with FakeCompletionClient(ANSWER) as client:
        key_of = FakeCompletionClient(gone)
        await batch.run(key_of, [line("a")])
        key = key_of.requests[0].idempotency_key
        await batch.early.keep(await client.complete(tier="t", body=b"{}", idempotency_key=key))
    again = FakeCompletionClient(gone)
    tally = await batch.run(again, [line("a")])
    assert tally.answered == 1
    assert batch.results()["a"]["response"]["body"] == ANSWER


async def test_early_replies_are_kept_in_bounded_number() -> None:
    early = EarlyReplies(in_flight=1)
    async with FakeCompletionClient(ANSWER) as client:
        for _ in range(2000):
            await early.keep(await client.complete(tier="t", body=b"{}"))
    assert len(early._kept) == 1000


async def test_costs_and_cached_answers_are_counted(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = [Decimal("0.10"), Decimal("0.025"), None]
    original = Reply.of
    monkeypatch.setattr(
        Reply,
        "of",
        lambda reply: original(reply.model_copy(update={"cost": costs.pop()})),
    )
    cached = Success(body=ANSWER, source=Source.CACHE)
    client = FakeCompletionClient(ANSWER, cached, ANSWER)
    tally = await batch.run(client, [line(n) for n in "abc"])
    assert (tally.cost, tally.unpriced, tally.cached) == (Decimal("0.125"), 1, 1)


class Forgetful(FakeCompletionClient):
    """Answers, and remembers nothing."""

    async def _send(self, request: Request, submission: CompletionRequest) -> None:
        del request
        answered = CompletionReply(
            submission_id=submission.submission_id,
            job_id="0" * 32,
            status=Status.COMPLETED,
            body=submission.body,
        )
        self._mailboxes.put(answered)


async def test_a_file_of_32_mb_takes_less_than_6_mb_of_memory(batch: Batch) -> None:
    with batch.source.open("wb") as file:
        file.writelines(line(str(n), text="x" * 8000) for n in range(4000))
    tracemalloc.start()
    try:
        tally = await batch.run(Forgetful())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert tally.answered == 4000
    assert batch.output.stat().st_size > 32_000_000
    assert most < 6_000_000


async def test_a_signal_ends_what_runs_and_is_told() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        async with stopping():
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await begun.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Stopped) as stopped:
        await task
    assert stopped.value.signal is signal.SIGTERM


async def test_stopping_a_run_leaves_a_whole_output_and_no_task(batch: Batch) -> None:
    before = asyncio.all_tasks()
    client = FakeCompletionClient(ANSWER, SILENCE)
    run = asyncio.create_task(batch.run(client, [line(n) for n in "abcdefgh"]))
    while not batch.output.exists() or not batch.output.read_bytes():  # noqa: ASYNC110  # nobody announces a write
        await asyncio.sleep(0)
    run.cancel()
    await asyncio.wait({run})
    assert asyncio.all_tasks() == before
    assert len(batch.results()) == 1
