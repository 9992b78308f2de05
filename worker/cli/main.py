"""The entry point of `warren`."""

import sys


def main() -> None:
    """Run the command; without the extra `worker`, say how to get it."""
    try:
        from worker.cli.commands import warren  # noqa: PLC0415  # its packages may be missing
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in {"worker", "producer_sdk"}:
            raise
        sys.exit(
            f"warren: the package {error.name} is not installed; the command needs the extra: "
            "pip install 'warren[worker]'"
        )
    warren()


if __name__ == "__main__":
    main()
