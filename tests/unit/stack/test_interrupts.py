import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from stack.interrupts import done, heed, put_off

_RUN = """
import signal, sys
from pathlib import Path
from stack import interrupts
signal.signal(signal.SIGINT, signal.SIG_IGN)
interrupts.heed()
try:
    interrupts.run([sys.executable, "-c", sys.argv[1]], Path())
except KeyboardInterrupt:
    sys.exit(130)
"""
_COMMAND = """
import time
try:
    print("begun", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("cleaned up", flush=True)
"""


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """Let Ctrl-C be heeded, also where the tests themselves were started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    terminated = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGINT, before)
    signal.signal(signal.SIGTERM, terminated)


def test_ctrl_c_waits_until_the_block_has_ended() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), put_off() as pressed:  # noqa: PT012  # the order is the point
        assert not pressed()
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        assert pressed()
        done.append("cleaned up")
    assert done == ["cleaned up"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_in_the_block_passes_and_the_old_handler_is_back() -> None:
    with pytest.raises(ValueError, match="mine"), put_off():
        raise ValueError("mine")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_started_in_the_block_can_be_interrupted() -> None:
    code = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    with put_off():
        told = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, text=True
        ).stdout
    assert told == "True\n"


def test_in_another_thread_it_does_nothing() -> None:
    seen = []

    def work() -> None:
        with put_off() as pressed:
            seen.append(pressed())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


def test_a_sigterm_is_a_ctrl_c_and_waits_as_one() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    heed()
    done = []
    with pytest.raises(KeyboardInterrupt), put_off():  # noqa: PT012  # the order is the point
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("cleaned up")
    assert done == ["cleaned up"]
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_command_that_is_run_gets_a_sigterm_as_ctrl_c_and_is_waited_for() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _RUN, _COMMAND], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.terminate()
        told, _ = process.communicate(timeout=30)
    assert (process.returncode, told) == (130, "cleaned up\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_done_is_not_interrupted_any_more(number: signal.Signals) -> None:
    heed()
    done()
    os.kill(os.getpid(), number)
