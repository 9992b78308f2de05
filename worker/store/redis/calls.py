"""Beginning calls, and taking back what was begun for nobody."""

import asyncio
from functools import partial
from typing import Any, Final

from worker.core.model import Job
from worker.errors import StoreUnavailable
from worker.store.redis import encoding
from worker.store.redis.procedures import Procedures

# How long a `begin` that was given up is kept from coming into effect late.
_VOID_MS: Final = 600_000


class Calls:
    """The calls of this process, by job; in memory alone, for they end with it.

    A call has a name from its `begin` to its settlement. It fences the claim against what this process asked for
    before and what comes late to the server. A `begin` whose answer was lost is repeated under the name that it
    had, so it counts once; one that nobody repeats, or nobody wants any more, is given back.
    """

    def __init__(self, procedures: Procedures) -> None:
        self._procedures = procedures
        self._names: dict[str, str] = {}
        self._unheard: dict[str, str] = {}

    async def begin(self, job: Job, max_attempts: int, distrusted: str) -> Any:  # noqa: ANN401  # a script's answer
        """Run `begin`; `distrusted` is a job whose answer is not to be shared."""
        name = self._unheard.pop(job.id, None) or self._procedures.name()
        running = self._procedures.submit(
            self._procedures.scripts.begin,
            *encoding.job_parts(job),
            name,
            max_attempts,
            distrusted,
        )
        try:
            answer = await asyncio.shield(running)
        except asyncio.CancelledError:
            running.add_done_callback(partial(self._nobody_hears, job.id, name))
            raise
        except StoreUnavailable:
            self._unheard[job.id] = name
            raise
        if answer[0] == b"started":
            self._names[job.id] = name
        return answer

    def name(self, job_id: str) -> str:
        """Give the name of the job's call; none: it was not begun here."""
        return self._names.get(job_id, "")

    def settled(self, job_id: str) -> None:
        """Forget the job's call."""
        self._names.pop(job_id, None)

    async def give_back_unheard(self) -> None:
        """Give back every call that may have begun and that nobody has asked for again.

        Raises:
            StoreUnavailable: the store cannot be used now; what is left is for the next time.
        """
        while self._unheard:
            job_id, name = self._unheard.popitem()
            try:
                await self._give_back(job_id, name)
            except BaseException:
                self._unheard[job_id] = name
                raise

    def _nobody_hears(self, job_id: str, name: str, begun: asyncio.Future[Any]) -> None:
        if begun.cancelled() or (begun.exception() is None and begun.result()[0] != b"started"):
            return
        try:
            self._give_back(job_id, name).add_done_callback(partial(self._undone, job_id, name))
        except StoreUnavailable:  # closed meanwhile: the claim falls with this process
            return

    def _undone(self, job_id: str, name: str, undone: asyncio.Future[Any]) -> None:
        if not undone.cancelled() and undone.exception() is not None:
            self._unheard[job_id] = name

    def _give_back(self, job_id: str, name: str) -> asyncio.Future[Any]:
        script = self._procedures.scripts.give_back
        return self._procedures.submit(script, job_id, name, _VOID_MS)
