"""Makes packaged programs run from a folder that they were not built for."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from stack.errors import PackagesNotHad

_ELF = b"\x7fELF"


def mend_launchers(fresh: Path, root: Path, *, libraries: bool) -> None:
    """Point Erlang's start scripts, now under `fresh`, at their final home under `root`.

    With `libraries`, they also look for shared libraries there before the machine's own.
    """
    erlang = root / "usr/lib/erlang"
    for script in (fresh / "usr/lib/erlang").glob("**/bin/erl"):
        if script.is_symlink():
            continue
        text = script.read_text(encoding="utf-8")
        text = text.replace("ROOTDIR=/usr/lib/erlang", f"ROOTDIR={shlex.quote(str(erlang))}")
        if libraries:
            folder = root / _library_folder(fresh).relative_to(fresh)
            setting = f"LD_LIBRARY_PATH={shlex.quote(str(folder))}; export LD_LIBRARY_PATH\n"
            head, _, rest = text.partition("\n")
            text = f"{head}\n{setting}{rest}"
        script.write_text(text, encoding="utf-8")


def wrap_programs(fresh: Path, root: Path, *, below: str = "usr/lib/erlang") -> None:
    """Run every program below that folder with the C library that was unpacked beside it, not the machine's.

    Each program is renamed, and a script of its name calls it through the unpacked dynamic loader:
    the loader's own option keeps the library path away from whatever the program starts.
    """
    folder = _library_folder(fresh)
    loader = next(folder.glob("ld-linux*.so*"), None)
    if loader is None:
        raise PackagesNotHad("the unpacked packages hold no dynamic loader")
    home = root / folder.relative_to(fresh)
    for program in list(_programs(fresh / below)):
        real = program.with_name(f"{program.name}.real")
        program.rename(real)
        command = shlex.join([str(home / loader.name), "--library-path", str(home)])
        target = shlex.quote(str(root / real.relative_to(fresh)))
        # `escript` and `redis-server` find out by their own name, argv[0], what they are to do.
        script = f'#!/bin/sh\nexec {command} --argv0 "$0" {target} "$@"\n'
        program.write_text(script, encoding="utf-8")
        program.chmod(0o755)


def _library_folder(root: Path) -> Path:
    for folder in sorted(root.glob("usr/lib/*-linux-gnu*")):
        return folder
    raise PackagesNotHad("the unpacked packages hold no shared libraries")


def _programs(folder: Path) -> Iterator[Path]:
    for path in folder.glob("**/bin/*"):
        if path.is_symlink() or not path.is_file() or not path.stat().st_mode & 0o111:
            continue
        with path.open("rb") as content:
            if content.read(4) == _ELF:
                yield path
