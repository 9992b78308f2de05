"""The configuration as commands get it: `--config`, else WARREN_CONFIG, and the environment."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click

from worker import stores
from worker.broker.management import Management
from worker.errors import SettingsError
from worker.ports import Archive
from worker.settings import Settings, load

config_option = click.option(
    "--config",
    metavar="FILE",
    help="The configuration file. From WARREN_CONFIG if not given.",
)

management_option = click.option(
    "--management-url",
    envvar="WARREN_MANAGEMENT_URL",
    help="RabbitMQ's management API: http[s]://user:password@host:port. From WARREN_MANAGEMENT_URL.",
)


def settings_of(config: str | None) -> Settings:
    """Load the settings.

    Raises:
        SettingsError: with every problem there is.
    """
    return load(Path(config) if config else None, os.environ)


def archive_of(config: str | None) -> Archive:
    """Give the ledger's archive for reading.

    Raises:
        SettingsError: the configuration has problems.
    """
    return stores.archive(settings_of(config).store)


def management_of(config: str | None, url: str | None) -> Management:
    """Give the management API at a URL with user and password, or at the configuration's.

    Raises:
        SettingsError: there is no URL, or the configuration has problems.
        click.UsageError: the URL that was given cannot be one.
    """
    if url is not None and not _is_http(url):
        raise click.UsageError(
            "--management-url or WARREN_MANAGEMENT_URL must look like http[s]://user:password@host:port"
        )
    settings = settings_of(config)
    given = url or settings.broker.management_url
    if given is None:
        raise SettingsError(
            (
                "give the management API: --management-url, WARREN_MANAGEMENT_URL or broker.management_url",
            )
        )
    parts = urlsplit(given)
    port = f":{parts.port}" if parts.port else ""
    vhost = unquote(urlsplit(settings.broker.url).path[1:]) or "/"
    return Management(
        url=f"{parts.scheme}://{parts.hostname}{port}",
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        vhost=vhost,
    )


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
