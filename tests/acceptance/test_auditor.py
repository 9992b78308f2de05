"""The auditor against a worker that breaks the protocol: it must see what is lost."""

from tests.faults.stage import Stage, chat


async def test_a_worker_that_acknowledges_before_it_records_is_caught(stage: Stage) -> None:
    async with stage.client() as client:
        jobs = await stage.submit(client, [chat("acked too early", plan="hang")])
        hasty = await stage.start_module("tests.acceptance.hasty_worker")
        await stage.simulator.wait_for(lambda calls: len(calls) == 1)
        await hasty.kill()
        await stage.started()
        findings = await stage.settled()
    assert findings.lost == (jobs[0].id,)
    assert not findings.clean
