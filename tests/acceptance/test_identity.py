"""Nobody can be somebody else, whatever headers he sends."""

import asyncio

from producer_sdk import Reply
from tests.faults.forging import forge
from tests.faults.stage import Stage, chat


async def test_no_forged_header_is_believed_by_anybody(stage: Stage) -> None:
    stage.configure(concurrency=16)
    await stage.started()
    forgery = await forge(stage)
    assert forgery.believed == []
    assert forgery.tried > 200


async def test_copies_of_one_key_are_one_job_and_every_submission_hears_also_beside_a_wrong_one(
    stage: Stage,
) -> None:
    stage.configure(concurrency=16)
    await stage.started()
    await stage.started()
    async with stage.client("one") as one, stage.client("other") as other:
        right = [chat("right", plan="slow(1)", idempotency_key="k") for _ in range(10)]
        (first,) = await stage.submit(one, right[:1])
        await stage.simulator.wait_for(lambda calls: len(calls) == 1)
        wrong = chat("wrong", idempotency_key="k")
        groups = await asyncio.gather(
            stage.submit(one, right), stage.submit(other, [*right, wrong])
        )
        copies, (refused,) = [first, *groups[0], *groups[1][:-1]], groups[1][-1:]
        heard = await stage.hear(copies)
        (bad,) = await stage.hear([refused])
    assert {job.id for job in copies} == {first.id}
    assert len({each.body for each in heard if isinstance(each, Reply)}) == 1
    assert all(isinstance(each, Reply) for each in heard)
    assert not isinstance(bad, Reply)
    assert bad.kind == "idempotency_conflict"
    assert len(stage.simulator.calls) == 1
