"""What the benchmarks of a whole Warren share: a folder that leaves nothing behind, and how figures are shown."""

import argparse
import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from stack.house import lower
from stack.interrupts import heed

T = TypeVar("T")
Figures = Mapping[str, float]
# What is in flight then has been measured, or never will be.
_STOP_S: Final = 10


def in_folder(
    name: str,
    measure: Callable[[Path, argparse.Namespace], Coroutine[Any, Any, T]],
    options: argparse.Namespace,
) -> T:
    """Measure in a folder of its own, and stop all that runs there, also after a Ctrl-C or SIGTERM."""
    heed()
    folder = Path(tempfile.mkdtemp(prefix=f"warren-{name}-"))
    try:
        return asyncio.run(measure(folder, options))
    finally:
        lower(folder, tell=lambda _: None, within_s=_STOP_S)
        shutil.rmtree(folder, ignore_errors=True)


def measured(
    name: str,
    measure: Callable[[Path, argparse.Namespace], Coroutine[Any, Any, Figures]],
    options: argparse.Namespace,
) -> Figures:
    """Measure in a folder of its own, stop all that runs there, and print the figures, as JSON if `options` say so."""
    figures = in_folder(name, measure, options)
    if options.json:
        print(json.dumps(figures))  # the result
    else:
        for key, value in figures.items():
            print(f"{key:24} {value}")  # the result
    return figures
