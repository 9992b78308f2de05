"""The permission matrix on the machine's broker and on a new one."""

from tests.chaos.experiment import Bound, Ground, Measured
from tests.faults.matrix import ROLES, violations


async def run(ground: Ground) -> Measured:
    """Try every operation as every role."""
    checks, wrong, versions = 0, [], []
    for release in (None, "sid"):
        try:
            version = ground.broker(release).version
        except Exception as error:  # noqa: BLE001  # where that release is not to be had, the machine's own must do
            ground.tell(f"no broker of {release}: {error}")
            continue
        with ground.vhost(release) as vhost:
            tried, found = await violations(vhost)
        checks += tried
        wrong += found
        versions.append(version)
        ground.tell(f"{checks} checks, {len(wrong)} not as specified")
    return Measured(
        work=f"{checks // len(ROLES) // len(versions)} operations as {', '.join(ROLES)} on RabbitMQ {' and '.join(versions)}: "
        f"{checks} checks",
        bounds=(Bound(name="checks not as specified", measured=len(wrong), at_most=0),),
    )
