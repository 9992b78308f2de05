"""Fresh Python environments with chosen packages of this one: nothing is fetched, and ensurepip is not needed."""

import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path


def fresh(folder: Path, packages: Iterable[str]) -> Path:
    """Make an environment that holds copies of these packages alone; give its site-packages."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60
    )
    (site,) = folder.glob("lib/python3.*/site-packages")
    for name in packages:
        for file in distribution(name).files or ():
            # Scripts lie outside, and would begin with another Python's path.
            if ".." not in file.parts and "__pycache__" not in file.parts:
                target = site / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), target)
    return site
