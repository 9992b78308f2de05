"""`warren worker` and `warren check-config`."""

import sys
from dataclasses import asdict

import click

from worker.app import run
from worker.cli.configured import config_option, settings_of
from worker.cli.output import as_json, fail, show, told
from worker.errors import WarrenError
from worker.settings import describe


@click.command(
    epilog="""\b
Examples:
  warren worker --config /etc/warren.toml
  WARREN_HTTP__LISTEN=127.0.0.1:0 warren worker    # a free port for /readyz and /metrics
Exit status: 0 all that it held was settled, 1 some was given back to the broker, or it could not start: the
configuration, the address of http.listen, a store that waiting does not mend; 2 usage. A broker that cannot be
reached, and a store that does not answer, are tried for ever."""
)
@config_option
def worker(config: str | None) -> None:
    """Run a worker until SIGTERM or SIGINT.

    It takes jobs of every configured tier, answers them from cache or upstream, and replies. On SIGTERM it
    takes no more, finishes what it holds within the grace period, and gives the rest back to the broker.
    Any number of workers may run; those on one store share one ledger.
    """
    with told():
        settings = settings_of(config)
    try:
        sys.exit(run(settings))
    except WarrenError as error:
        fail(str(error))  # whatever kept it from starting, also the store


@click.command(
    short_help="Show every problem of the configuration, or its values.",
    epilog="""\b
Examples:
  warren check-config --config warren.toml
  warren check-config --json | jq '.[] | select(.source != "default")'
Exit status: 0 it can be used, 1 it has problems (each is printed), 2 usage.""",
)
@config_option
@as_json
def check_config(config: str | None, as_json: bool) -> None:  # noqa: FBT001  # click passes by name
    """Check the configuration: every problem at once, or every setting with its source.

    Secrets are masked. Nothing is connected to.
    """
    with told():
        settings = settings_of(config)
    rows = [asdict(row) for row in describe(settings)]
    show(rows, columns=("path", "value", "source"), json_too=as_json)
    for warning in settings.warnings:
        click.echo(f"warning: {warning}", err=True)
