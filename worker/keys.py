"""An endpoint's key as the upstream client asks for it: at every call, read anew every so often, and when it is refused."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Final

from worker.core.events import Trouble
from worker.errors import SettingsError
from worker.ports import Clock, Listener
from worker.settings import Secret

_KEPT_S: Final = 5.0
"""For so long a file's key is used without looking at the file."""
_REFUSED_S: Final = 3.0
"""After a refused key was read anew and was still the same, so long nobody reads it anew for being refused."""
_PATIENCE_S: Final = 5.0
"""A refused call waits no longer for its key to be read anew: it has a call slot and an attempt's time in hand."""
_MOST_AT_ONCE: Final = 16


def read_managed(secrets: Mapping[str, Secret]) -> None:
    """Read every secret that a manager keeps, all at the same time, so that no later use of one has to wait.

    Blocks for as long as the slowest manager takes.

    Raises:
        SettingsError: some cannot be read; each by its setting's path, never its value.
    """
    managed = {path: secret for path, secret in secrets.items() if secret.reference is not None}
    if not managed:
        return
    with ThreadPoolExecutor(max_workers=min(_MOST_AT_ONCE, len(managed))) as pool:
        found = list(pool.map(_problem, managed.items()))
    if problems := tuple(problem for problem in found if problem is not None):
        raise SettingsError(problems)


def _problem(managed: tuple[str, Secret]) -> str | None:
    path, secret = managed
    try:
        secret.reveal()
    except SettingsError as error:
        return f"{path}_from: {error.problems[0]}"
    return None


class EndpointKey:
    """Gives a secret's value. A rotated key takes effect by itself, and costs the hot path no wait.

    A file is looked at every few seconds; a manager is asked every `reread`, by a thread, while its last value
    is used on. When the key is refused, both are read at once by a thread: see `replaced`. A manager that does not
    answer leaves the last value in place, which `listener` is told once, under the name `about`. `patience_s` is how
    long a refused call waits for one that takes its time.
    """

    def __init__(
        self,
        secret: Secret,
        clock: Clock,
        *,
        about: str,
        listener: Listener,
        reread: timedelta = timedelta(minutes=5),
    ) -> None:
        self.patience_s = _PATIENCE_S
        self._secret = secret
        self._clock = clock
        self._about = about
        self._listener = listener
        self._kept_s = _KEPT_S if secret.reference is None else reread.total_seconds()
        self._value = ""
        self._until = float("-inf")
        self._refused = ""
        self._not_before = float("-inf")
        self._reading: asyncio.Future[str] | None = None
        self._sought = False
        self._told = False

    def __call__(self) -> str:
        """Give the key.

        Raises:
            OSError: the secret cannot be read now.
        """
        now = self._clock.monotonic()
        if now >= self._until:
            if self._secret.reference is not None and self._value:
                self._read_aside()
            else:
                try:
                    self._value = self._secret.reveal()
                except SettingsError as error:
                    raise OSError(str(error)) from None
            self._until = now + self._kept_s
        return self._value

    async def replaced(self, refused: str) -> bool:
        """Tell whether the key is by now another than the one that was refused; reads it anew for that.

        One key at most once every few seconds, however many calls it is refused for: those that come meanwhile wait
        for the same reading, or are told what it gave. None waits for long: what a manager that hangs gives in the end
        is the key from then on. The loop is never blocked.
        """
        if self._secret.fixed:
            return False
        for _ in range(2):  # a reading that is under way may have begun before the key was replaced
            if self._value == refused and self._reading is None:
                self._look_for_another(refused)
            if self._value == refused and self._reading is not None:
                # Not awaited itself: a caller that is cancelled must not end it for the others.
                done, _ = await asyncio.wait({self._reading}, timeout=self.patience_s)
                if not done:
                    break
        return bool(self._value) and self._value != refused

    def _look_for_another(self, refused: str) -> None:
        now = self._clock.monotonic()
        if refused != self._refused or now >= self._not_before:
            self._refused, self._sought = refused, True
            self._read_aside()

    def _read_aside(self) -> None:
        if self._reading is None:
            self._reading = _in_thread(self._secret.renew)
            self._reading.add_done_callback(self._read)

    def _read(self, reading: asyncio.Future[str]) -> None:
        self._reading = None
        if self._sought:  # from its end on: a manager that hangs takes longer than that
            self._sought, self._not_before = False, self._clock.monotonic() + _REFUSED_S
        if reading.cancelled():
            return
        error = reading.exception()
        if error is None:
            self._value, self._told = reading.result(), False
            self._until = self._clock.monotonic() + self._kept_s
        elif not self._told:
            self._told = True
            why = error.problems[0] if isinstance(error, SettingsError) else type(error).__name__
            what = "a key could not be read anew: its last value is used on, and it is tried again"
            self._listener.tell(Trouble(what=what, about=self._about, error=why))


def _in_thread(work: Callable[[], str]) -> asyncio.Future[str]:
    """Do something that blocks beside the loop. Its thread holds up no exit, as the loop's own threads would."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[str] = loop.create_future()

    def give(value: str, error: Exception | None) -> None:
        if not future.done():
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

    def run() -> None:
        value, failed = "", None
        try:
            value = work()
        except Exception as error:  # noqa: BLE001  # a thread's border: whoever waits gets it
            failed = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(give, value, failed)

    threading.Thread(target=run, name="warren-key", daemon=True).start()
    return future
