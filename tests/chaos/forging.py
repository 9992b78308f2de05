"""Forged headers: two tenants claim what only Warren or the broker may say."""

from tests.chaos.experiment import Bound, Ground, Measured
from tests.faults.forging import forge
from tests.faults.poison import FORGED
from tests.faults.stage import open_stage

_ROUNDS = 20


async def run(ground: Ground) -> Measured:
    """Try every forged header and all together, over and over, at two workers."""
    rounds = ground.scaled(_ROUNDS, least=1)
    with ground.vhost() as vhost:
        async with open_stage(vhost, ground.folder) as stage:
            stage.configure(concurrency=16)
            await stage.started()
            await stage.started()
            forgery = await forge(stage, rounds=rounds)
            secrets = await stage.canaries()
    for told in forgery.believed[:5]:
        ground.tell(told)
    return Measured(
        work=f"{len(FORGED)} forged headers x {rounds}, alone and together, {forgery.tried:,} messages of two tenants",
        bounds=(
            Bound(name="forgeries believed", measured=len(forgery.believed), at_most=0),
            Bound(name="secrets told", measured=len(secrets), at_most=0),
        ),
    )
