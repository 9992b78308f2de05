import asyncio
import io
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.worker.settings_samples import Folder
from worker import app, garbage
from worker.clock import SystemClock


class Stdout(io.BytesIO):
    """A log whose reader goes away as soon as the worker has started."""

    started = False

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # bytes alone come here
        if self.started:
            raise BrokenPipeError
        self.started = b'"started"' in data
        return super().write(data)


async def test_a_worker_whose_log_nobody_reads_goes_down_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    down: list[bool] = []

    class Worker:
        crew = SimpleNamespace(held=1)
        address = "127.0.0.1:1"

        async def down(self, _: object) -> bool:
            await asyncio.sleep(0.01)
            down.append(True)
            return True

    async def build(*_: object, **__: object) -> Worker:
        asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
        return Worker()

    monkeypatch.setattr(app, "_build", build)
    monkeypatch.setattr(garbage, "settle", lambda **_: None)
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=Stdout()))
    settings = Folder(tmp_path).load()
    assert await app.serve(settings, listeners=(), clock=SystemClock()) == 0
    assert down == [True]
