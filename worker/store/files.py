"""Which files of the store's folder hold what."""

from pathlib import Path


def ledger_file(folder: Path) -> Path:
    """Give the file of the embedded ledger and cache in a store's folder."""
    return folder / "warren.db"
