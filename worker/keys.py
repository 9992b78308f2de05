"""An endpoint's key as the upstream client asks for it: at every call, and read anew every few seconds."""

from typing import Final

from worker.errors import SettingsError
from worker.ports import Clock
from worker.settings import Secret

_KEPT_S: Final = 5.0


class EndpointKey:
    """Gives a secret's value. A rotated file takes effect within seconds, and costs the hot path no read."""

    def __init__(self, secret: Secret, clock: Clock) -> None:
        self._secret = secret
        self._clock = clock
        self._value = ""
        self._until = float("-inf")

    def __call__(self) -> str:
        """Give the key.

        Raises:
            OSError: the secret cannot be read now.
        """
        now = self._clock.monotonic()
        if now >= self._until:
            try:
                self._value = self._secret.reveal()
            except SettingsError as error:
                raise OSError(str(error)) from None
            self._until = now + _KEPT_S
        return self._value
