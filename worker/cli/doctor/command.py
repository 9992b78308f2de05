"""`warren doctor`."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict

import click

from worker.broker.management import Management
from worker.cli.configured import config_option, management_of, management_option, settings_of
from worker.cli.doctor import look, reach, secrets
from worker.cli.doctor.finding import Finding, Severity, exit_status, failed, ok, warn
from worker.cli.output import as_json, told
from worker.cli.shape import tenants_option
from worker.errors import SettingsError
from worker.settings import Settings

_COLORS = {Severity.OK: "green", Severity.WARN: "yellow", Severity.FAIL: "red"}


@click.command(
    short_help="Look for what would keep a worker from its work here.",
    epilog="""\b
Examples:
  warren doctor --config /etc/warren.toml         on the host, and as the user, of the worker
  warren doctor --management-url http://admin:secret@127.0.0.1:15672
  warren doctor --call                            also one GET /models to each endpoint, with its key
  warren doctor --json | jq '.[] | select(.severity != "ok")'
Exit status: 0 all is well, or there are warnings only, 1 something fails, or the configuration has problems,
2 usage, 3 the broker, its management API or Redis cannot be reached or refuses the user.""",
)
@config_option
@management_option
@tenants_option
@click.option(
    "--call",
    is_flag=True,
    help="Ask each endpoint for its models, with its key; else only a connection is made.",
)
@as_json
def doctor(  # noqa: PLR0917  # one parameter for each option, by name
    config: str | None,
    management_url: str | None,
    tenants: tuple[str, ...],
    call: bool,  # noqa: FBT001  # click passes options by name
    as_json: bool,  # noqa: FBT001  # see above
) -> None:
    """Look for what would keep a worker from its work here, and tell the line that mends it.

    Secrets: every one can be read. Broker: reachable as the configured user, its version, channels, topology, consumer timeout, clock. Endpoints:
    key, connection, and with --call their answer and clock. This machine: open files, memory. Store: its disk, or
    what Redis promises. Nothing is changed, declared, consumed or published, and no key is shown.
    """
    try:
        settings = settings_of(config)
    except SettingsError as error:
        findings = [_problem(each) for each in error.problems]
    else:
        with told():
            management = _management(settings, config, management_url)
        findings = list(_all(settings, management, tenants, call=call))
    _tell(findings, json_too=as_json)
    raise SystemExit(exit_status(findings))


def _management(settings: Settings, config: str | None, url: str | None) -> Management | None:
    if url is None and settings.broker.management_url is None:
        return None
    return management_of(config, url)


def _all(
    settings: Settings, management: Management | None, tenants: tuple[str, ...], *, call: bool
) -> Iterator[Finding]:
    if settings.warnings:
        for text in settings.warnings:
            yield warn(
                "configuration", text, "warren check-config shows every setting and its source"
            )
    else:
        yield ok("configuration", "it can be used")
    yield from secrets.secret_findings(settings)
    yield from look.broker_findings(settings)
    yield from look.management_findings(settings, management, tenants)
    yield from reach.endpoint_findings(settings, call=call)
    yield from look.host_findings(settings)


def _problem(text: str) -> Finding:
    return failed(
        "configuration", text, "mend it in the file or the environment; warren check-config"
    )


def _tell(findings: Iterable[Finding], *, json_too: bool) -> None:
    found = list(findings)
    if json_too:
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    width = max(len(each.what) for each in found)
    for each in found:
        mark = click.style(f"{each.severity.value:5}", fg=_COLORS[each.severity])
        click.echo(f"{mark} {each.what:{width}}  {each.detail}")
        if each.mend:
            click.echo(f"{'':5} {'':{width}}  to mend it: {each.mend}")
    count = {kind: sum(each.severity is kind for each in found) for kind in Severity}
    click.echo(
        f"{len(found)} looked at: {count[Severity.FAIL]} fail, {count[Severity.WARN]} warnings"
    )
