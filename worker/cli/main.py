"""The entry point of `warren`."""

import sys

from worker import garbage


def main() -> None:
    """Run the command; without the extra `worker`, say how to get it."""
    garbage.put_off()  # the command's own module ends that, see `commands`
    try:
        from worker.cli.commands import warren  # noqa: PLC0415  # its packages may be missing

        warren()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in {"worker", "producer_sdk"}:
            raise
        sys.exit(
            f"warren: the package {error.name} is not installed; the command needs the extra: "
            "pip install 'warren[worker]'"
        )


if __name__ == "__main__":
    main()
