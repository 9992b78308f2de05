"""`warren topology`: what Warren needs the broker to hold."""

import json
from dataclasses import asdict

import click

from producer_sdk.wire import WireError, reply_route
from worker.broker.comparison import Difference
from worker.broker.definitions import to_definitions
from worker.broker.management import Management
from worker.broker.queues import Priorities, priorities
from worker.broker.rights import users
from worker.broker.topology import Topology
from worker.broker.topology import topology as topology_of
from worker.cli.configured import config_option, management_of, management_option, settings_of
from worker.cli.output import FAILED, as_json, show, told
from worker.errors import SettingsError


def _tenants(_: click.Context, __: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Give the names back; they stand in the patterns of permissions, and a worker reads no other's jobs."""
    staff = {user.name for user in users(())}
    for name in names:
        try:
            reply_route(name, "any")
        except WireError as error:
            raise click.BadParameter(f"{name!r}: {error}") from None
        if name in staff:
            raise click.BadParameter(f"{name!r} is the name of a user who is no tenant")
    return names


tenants_option = click.option(
    "--tenant",
    "tenants",
    callback=_tenants,
    multiple=True,
    default=("producer",),
    show_default=True,
    help="A producer's broker user; repeat for more.",
)


@click.group(no_args_is_help=True)
def topology() -> None:
    """Hold a broker against what Warren needs, or declare it.

    Exchanges, queues, bindings, policies and permissions follow from the configured tiers and broker.queue_type.
    """


@topology.command(
    short_help="Tell everything in which the broker differs.",
    epilog="""\b
Examples:
  warren topology check
  warren topology check --json
Exit status: 0 nothing differs, 1 something does, or the configuration has problems, 2 usage, 3 the management API
cannot be reached.""",
)
@config_option
@management_option
@tenants_option
@as_json
def check(
    config: str | None,
    management_url: str | None,
    tenants: tuple[str, ...],
    as_json: bool,  # noqa: FBT001  # click passes options by name
) -> None:
    """Tell everything in which the broker differs, with what to do about it. Changes nothing."""
    with told():
        management = management_of(config, management_url)
        _check_priorities(config, management)
        differences = management.check(_wanted(config, tenants))
    _tell(differences, json_too=as_json)


@topology.command(
    short_help="Declare what is missing, mend what can be mended.",
    epilog="""\b
Examples:
  warren topology apply --management-url http://admin:secret@127.0.0.1:15672
  warren topology apply --tenant billing --tenant search
Exit status: 0 nothing differs any more, 1 something still does, or the configuration has problems, 2 usage, 3 the
management API cannot be reached.""",
)
@config_option
@management_option
@tenants_option
@as_json
def apply(
    config: str | None,
    management_url: str | None,
    tenants: tuple[str, ...],
    as_json: bool,  # noqa: FBT001  # click passes options by name
) -> None:
    """Declare what is missing and mend what can be mended in place.

    Nothing is ever deleted. Users are not made, since they need passwords; their permissions are.
    """
    with told():
        management = management_of(config, management_url)
        _check_priorities(config, management)
        differences = management.apply(_wanted(config, tenants))
    _tell(differences, json_too=as_json)


@topology.command(
    "show",
    epilog="""\b
Examples:
  warren topology show > definitions.json     # for `load_definitions`; users have no passwords
Exit status: 0 shown, 1 the configuration has problems, 2 usage.""",
)
@config_option
@tenants_option
@click.option(
    "--vhost", default="warren", show_default=True, help="The virtual host to write it for."
)
def show_definitions(config: str | None, tenants: tuple[str, ...], vhost: str) -> None:
    """Print the topology as RabbitMQ's definitions.json."""
    with told():
        wanted = _wanted(config, tenants)
    click.echo(json.dumps(to_definitions(wanted, vhost=vhost), indent=2))


def _wanted(config: str | None, tenants: tuple[str, ...]) -> Topology:
    settings = settings_of(config)
    return topology_of(
        tuple(settings.tiers), tenants=tenants, queue_type=settings.broker.queue_type
    )


def _check_priorities(config: str | None, management: Management) -> None:
    """Say when the broker's quorum queues know two priorities only.

    Raises:
        SettingsError: they know none.
    """
    version = management.version()
    match priorities(settings_of(config).broker.queue_type, version):
        case Priorities.NONE:
            problem = (
                f'broker.queue_type = "quorum": RabbitMQ {version} gives quorum queues no priorities: run 4.3.5 or '
                'newer, or the latest 4.2, or set "classic"'
            )
            raise SettingsError((problem,))
        case Priorities.HIGH_FIRST:
            click.echo(
                f"note: on RabbitMQ {version} only priority high stands out in quorum queues; strict priorities "
                "come with 4.3",
                err=True,
            )
        case Priorities.STRICT:
            pass


def _tell(differences: list[Difference], *, json_too: bool) -> None:
    rows = [asdict(difference) for difference in differences]
    if json_too:
        show(rows, columns=(), json_too=True)
    else:
        for difference in differences:
            click.echo(str(difference))
        click.echo(
            f"{len(differences)} differences" if differences else "the topology is as it should be"
        )
    if differences:
        raise SystemExit(FAILED)
