"""Reaches for the endpoints, and has what is found judged. No key is shown, whatever happens."""

import http.client
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from worker.cli.doctor import clock, endpoint
from worker.cli.doctor.finding import Finding, Severity, failed
from worker.cli.doctor.secrets import mend
from worker.clock import SystemClock
from worker.errors import SettingsError
from worker.settings import EndpointSettings, Settings
from worker.settings.serving import endpoint_site
from worker.upstream.site import key_header

_ALPN: Final = ("h2", "http/1.1")
_CLOCK: Final = SystemClock()
_MOST_AT_ONCE: Final = 32


def endpoint_findings(settings: Settings, *, call: bool) -> Iterator[Finding]:
    """Look at every endpoint, all at the same time; with `call`, ask each what models it has."""
    endpoints = list(settings.endpoints.values())
    if not endpoints:
        return
    with ThreadPoolExecutor(max_workers=min(_MOST_AT_ONCE, len(endpoints))) as pool:
        for findings in pool.map(lambda each: _endpoint(settings, each, call=call), endpoints):
            yield from findings


def _endpoint(settings: Settings, each: EndpointSettings, *, call: bool) -> list[Finding]:
    name, parts = each.name, urlsplit(each.base_url)
    jobs = most_calls(settings, each)
    found = _reach(each)
    where = f"{parts.scheme}://{parts.netloc}"
    findings = [_key(each), endpoint.reached(name, found, where=where, jobs=jobs)]
    if call and all(finding.severity is not Severity.FAIL for finding in findings):
        findings += _call(each)
    return findings


def most_calls(settings: Settings, each: EndpointSettings) -> int:
    """Give how many calls a worker may have at an endpoint at once."""
    jobs = sum(
        tier.concurrency + tier.bulk_concurrency
        for tier in settings.tiers.values()
        if each.name in tier.endpoints
    )
    return min(jobs, each.concurrency or each.max_concurrency)


def _key(each: EndpointSettings) -> Finding:
    secret = each.key
    if secret is None:
        return endpoint.key(each.name, None, source="", exposed=False)
    source = secret.place
    try:
        value = secret.reveal()
    except SettingsError as error:
        return failed(f"key of {each.name}", error.problems[0], mend(secret))
    return endpoint.key(each.name, value, source=source, exposed=secret.exposed)


def _reach(each: EndpointSettings) -> endpoint.Reached | OSError:
    parts = urlsplit(each.base_url)
    hostname, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    try:
        with socket.create_connection(
            (hostname, port), each.connect_timeout.total_seconds()
        ) as made:
            if not secure:
                return endpoint.Reached(host=hostname, port=port, protocol="")
            tls = _tls(each)
            tls.set_alpn_protocols(["http/1.1"] if each.http == "1.1" else list(_ALPN))
            with tls.wrap_socket(made, server_hostname=hostname) as agreed:
                protocol = agreed.selected_alpn_protocol() or "http/1.1"
                return endpoint.Reached(host=hostname, port=port, protocol=protocol)
    except OSError as error:  # ssl's errors are some
        return error


def _call(each: EndpointSettings) -> list[Finding]:
    parts = urlsplit(each.base_url)
    limit_s = each.connect_timeout.total_seconds()
    connection = (
        http.client.HTTPSConnection(parts.netloc, timeout=limit_s, context=_tls(each))
        if parts.scheme == "https"
        else http.client.HTTPConnection(parts.netloc, timeout=limit_s)
    )
    url, header, more = endpoint_site(each).look()
    headers = {**each.headers, **more}
    if each.key is not None:
        headers |= dict([key_header(header, each.key.reveal())])
    try:
        asked = _CLOCK.now()
        connection.request(
            "GET", url.removeprefix(f"{parts.scheme}://{parts.netloc}"), headers=headers
        )
        response = connection.getresponse()
        answered = _CLOCK.now()
        findings = [endpoint.answered(each.name, response.status)]
        date = response.headers.get("Date")
    except (OSError, http.client.HTTPException) as error:
        mend = f"check endpoints.{each.name}.base_url, and the provider's status page"
        return [failed(f"call to {each.name}", f"GET /models broke: {type(error).__name__}", mend)]
    finally:
        connection.close()
    try:
        theirs = parsedate_to_datetime(date or "")
    except ValueError:
        return findings
    return [*findings, clock.clock(each.name, theirs, asked=asked, answered=answered)]


def _tls(each: EndpointSettings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=None if each.ca_file is None else str(each.ca_file))
