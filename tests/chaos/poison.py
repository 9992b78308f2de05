"""Wire poison in mass: every kind many times, among innocents, at workers that hold few or many messages."""

import asyncio
from typing import Final

from tests.chaos.experiment import Bound, Ground, Measured
from tests.faults.poison import KINDS
from tests.faults.siege import Account, besiege
from tests.faults.stage import open_stage

_PREFETCHES: Final = (1, 2, 16, 256)
_EACH: Final = 10
# Rounds for one worker: the quarantine keeps 10,000 messages.
_ROUNDS: Final = 10
_RELEASES: Final = (None, "sid")


async def run(ground: Ground) -> Measured:
    """Besiege a worker at each prefetch, on the machine's broker and on a new one; a small run: once."""
    each = ground.scaled(_EACH, least=1)
    small = each < _ROUNDS / 2
    accounts: list[Account] = []
    versions, prefetches = [], set[int]()
    for release in _RELEASES[:1] if small else _RELEASES:
        try:
            versions.append(ground.broker(release).version)
        except Exception as error:  # noqa: BLE001  # where that release is not to be had, the machine's own must do
            ground.tell(f"no broker of {release}: {error}")
            continue
        for prefetch in _PREFETCHES[2:3] if small else _PREFETCHES:
            left = each
            while left:
                rounds = min(_ROUNDS, left)
                left -= rounds
                accounts.append(await _siege(ground, release, prefetch, rounds))
                prefetches.add(prefetch)
                ground.tell(f"{sum(account.sent for account in accounts):,} kinds of poison sent")
    return _measured(accounts, each, versions, prefetches)


async def _siege(ground: Ground, release: str | None, prefetch: int, rounds: int) -> Account:
    folder = ground.folder / f"{release}-{prefetch}-{ground.chance.getrandbits(32):x}"
    await asyncio.to_thread(folder.mkdir, parents=True)
    with ground.vhost(release) as vhost:
        async with open_stage(vhost, folder) as stage:
            stage.configure(concurrency=prefetch)
            account = await besiege(stage, rounds=rounds)
            account.secrets = len(await stage.canaries())
            return account


def _measured(
    accounts: list[Account], each: int, versions: list[str], prefetches: set[int]
) -> Measured:
    innocents = sum(account.innocents for account in accounts)
    sent = sum(account.sent for account in accounts)
    counts = {
        "connections lost": sum(account.reconnects for account in accounts),
        "innocents unheard": sum(account.unheard for account in accounts),
        "poison not in quarantine with its bytes": sum(len(each.missing) for each in accounts),
        "others in quarantine": sum(len(each.intruders) for each in accounts),
        "harmless oddities lost": sum(len(each.lost) for each in accounts),
        "reasons missing or quoting": sum(account.unreasoned for account in accounts),
        "secrets told": sum(account.secrets for account in accounts),
    }
    return Measured(
        work=f"{len(KINDS)} kinds x {each} as request and as ask, prefetch {', '.join(map(str, sorted(prefetches)))}, "
        f"RabbitMQ {' and '.join(versions)}: {sent:,} messages, {innocents:,} innocents between",
        bounds=tuple(Bound(name=name, measured=count, at_most=0) for name, count in counts.items()),
        figures={
            "set aside": sum(account.set_aside for account in accounts),
            "kinds that a broker refused": max(len(account.refused) for account in accounts) // 2,
        },
    )
