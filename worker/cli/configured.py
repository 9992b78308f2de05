"""The configuration as commands get it: `--config`, else WARREN_CONFIG, and the environment."""

import os
from pathlib import Path

import click

from worker.settings import Settings, load

config_option = click.option(
    "--config",
    metavar="FILE",
    help="The configuration file. From WARREN_CONFIG if not given.",
)


def settings_of(config: str | None) -> Settings:
    """Load the settings.

    Raises:
        SettingsError: with every problem there is.
    """
    return load(Path(config) if config else None, os.environ)
