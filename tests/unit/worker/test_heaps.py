import ctypes
import subprocess
import sys

import pytest

from worker import heaps

# In a process of its own: the heaps that are there stay. Each thread makes something, and keeps its heap while it lives.
_HEAPS = """
import ctypes, re, sys, tempfile, threading
from worker import heaps

library = ctypes.CDLL(None)
library.malloc_info.argtypes = ctypes.c_int, ctypes.c_void_p
library.fdopen.restype = ctypes.c_void_p
library.fflush.argtypes = (ctypes.c_void_p,)
library.malloc.restype = ctypes.c_void_p
if len(sys.argv) > 1:
    heaps.share()
made, end = threading.Semaphore(0), threading.Event()


def make():
    library.malloc(4096)
    made.release()
    end.wait()


for _ in range(4):
    threading.Thread(target=make).start()
    made.acquire()
with tempfile.TemporaryFile() as file:
    stream = library.fdopen(file.fileno(), b"w")
    library.malloc_info(0, stream)
    library.fflush(stream)
    file.seek(0)
    print(file.read().count(b"<heap nr="))
end.set()
"""


def _count(*arguments: str) -> int:
    command = [sys.executable, "-c", _HEAPS, *arguments]
    said = subprocess.run(command, capture_output=True, text=True, check=True)  # our own Python
    return int(said.stdout)


@pytest.mark.skipif(
    not heaps.is_glibc(ctypes.CDLL(None)), reason="another C library keeps its heaps as it likes"
)
def test_threads_share_their_heaps() -> None:
    assert _count() > heaps.MOST
    assert _count("shared") <= heaps.MOST
