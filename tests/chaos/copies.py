"""The same job a thousand times over eight workers on one Redis."""

from stack import redis as redises
from stack.redis import find_redis
from tests.chaos.experiment import Bound, Ground, Measured
from tests.faults.copies import share
from tests.faults.room import RedisRoom
from tests.faults.stage import open_stage
from tests.faults.vhost import ROOT

_WORKERS = 8
_COPIES = 1000


async def copies(ground: Ground) -> Measured:
    """Share one call; the copies are scaled, the workers are not: it is they who are in each other's way."""
    count = ground.scaled(_COPIES, least=100)
    server = find_redis(ROOT / ".warren/servers")
    redis = redises.start(server, ground.folder / "redis", die_with_parent=True)
    try:
        room = RedisRoom(redis=redis, prefix="chaos")
        with ground.vhost() as vhost:
            async with open_stage(vhost, ground.folder, room=room) as stage:
                stage.configure(concurrency=16)
                ground.tell(f"{count} copies of one job over {_WORKERS} workers")
                shared = await share(stage, workers=_WORKERS, copies=count, within_s=240)
                findings = await stage.settled(within_s=120)
    finally:
        redis.kill()
    return Measured(
        work=f"{count} copies of one job over {_WORKERS} workers on {redis.product} {redis.version}",
        bounds=(
            Bound(name="calls", measured=shared.calls, at_most=1),
            Bound(name="submissions that did not hear", measured=count - shared.heard, at_most=0),
            Bound(name="different answers", measured=shared.answers, at_most=1),
            Bound(name="lost", measured=len(findings.lost), at_most=0),
        ),
        figures={"seconds": round(shared.seconds, 1)},
    )
