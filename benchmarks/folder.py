"""What the benchmarks of a whole Warren share: a folder that leaves nothing behind, and how figures are shown."""

import argparse
import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from stack.house import lower

Figures = Mapping[str, float]


def measured(
    name: str,
    measure: Callable[[Path, argparse.Namespace], Coroutine[Any, Any, Figures]],
    options: argparse.Namespace,
) -> Figures:
    """Measure in a folder of its own, stop all that runs there, and print the figures, as JSON if `options` say so."""
    folder = Path(tempfile.mkdtemp(prefix=f"warren-{name}-"))
    try:
        figures = asyncio.run(measure(folder, options))
    finally:
        lower(folder, tell=lambda _: None)
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(json.dumps(figures))  # the result
    else:
        for key, value in figures.items():
            print(f"{key:24} {value}")  # the result
    return figures
