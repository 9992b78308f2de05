import tracemalloc

from worker.cli.batches.format import Line
from worker.cli.batches.known import Known, Standing
from worker.cli.batches.results import Done


def line(custom_id: str, body: bytes = b"{}") -> Line:
    return Line(number=1, custom_id=custom_id, path="/v1/embeddings", body=body)


def test_a_custom_id_is_new_once() -> None:
    known = Known()
    assert [known.meet(line(each)) for each in "aba"] == [
        Standing.NEW,
        Standing.NEW,
        Standing.REPEATED,
    ]


def test_a_line_with_a_result_is_done_and_its_repeat_is_still_a_repeat() -> None:
    known = Known()
    known.restore(Done(custom_id="a", digest=line("a").digest, success=True))
    known.restore(Done(custom_id="b", digest=line("b").digest, success=False))
    assert known.meet(line("a")) is Standing.ANSWERED
    assert known.meet(line("b")) is Standing.FAILED
    assert known.meet(line("a")) is Standing.REPEATED


def test_a_line_whose_request_was_changed_since_its_result_is_told() -> None:
    known = Known()
    known.restore(Done(custom_id="a", digest=line("a").digest, success=True))
    assert known.meet(line("a", b'{"n":1}')) is Standing.CHANGED


def test_a_result_that_does_not_tell_its_request_stands_for_any() -> None:
    known = Known()
    known.restore(Done(custom_id="a", digest=None, success=True))
    assert known.meet(line("a")) is Standing.ANSWERED


def test_a_custom_id_of_any_length_takes_less_than_200_bytes() -> None:
    known = Known()
    ids = (f"{n}{'x' * 500}" for n in range(100_000))
    tracemalloc.start()
    try:
        for custom_id in ids:
            known.restore(Done(custom_id=custom_id, digest=2**63 + len(custom_id), success=True))
        each, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert each / 100_000 < 200
