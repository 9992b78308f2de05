"""What must hold between settings. Each check looks at values that are well-formed by themselves."""

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from itertools import pairwise
from typing import Final

from worker.settings import serving
from worker.settings.bounds import MOST_JOBS
from worker.settings.budgets import check as check_budgets
from worker.settings.finding import Finding
from worker.settings.managed import managed_secrets, secrets_of, vault
from worker.settings.schema import Settings
from worker.settings.stores import which_store
from worker.settings.timing import consumer_timeout, record_ttl
from worker.settings.urls import hosts_of, split_url
from worker.settings.values import format_duration, format_size


def findings(settings: Settings) -> Iterator[Finding]:
    """Give every rule between settings that does not hold."""
    for check in _CHECKS:
        yield from check(settings)


def warnings(settings: Settings) -> Iterator[str]:
    """Give what stops nothing, but should be known."""
    used = {name for tier in settings.tiers.values() for name in tier.endpoints}
    for name in settings.endpoints:
        if name not in used:
            yield f"endpoints.{name} is used by no tier"
    yield from serving.idle_limits(settings)
    for path, secret in secrets_of(settings).items():
        if secret.exposed:
            yield f"{path}: everybody may read {secret.file}: chmod o-r"


def _tiers(settings: Settings) -> Iterator[Finding]:
    if not settings.tiers:
        yield Finding(about=(), text="tiers: there must be at least one, [tiers.<name>]")
    for name, tier in settings.tiers.items():
        path = f"tiers.{name}.endpoints"
        for endpoint in dict.fromkeys(tier.endpoints):
            if endpoint not in settings.endpoints:
                text = f'{path}: there is no endpoint "{endpoint}"; add [endpoints.{endpoint}]'
                yield Finding(about=(path,), text=text)
            if tier.endpoints.count(endpoint) > 1:
                text = (
                    f'{path}: "{endpoint}" stands there twice; for more calls give it more weight'
                )
                yield Finding(about=(path,), text=text)
        if tier.deadline > tier.max_deadline:
            yield Finding(
                about=(f"tiers.{name}.deadline", f"tiers.{name}.max_deadline"),
                text=f"tiers.{name}.deadline = {format_duration(tier.deadline)} must not be longer"
                f" than its max_deadline = {format_duration(tier.max_deadline)}",
            )


def _concurrency(settings: Settings) -> Iterator[Finding]:
    total = sum(tier.concurrency + tier.bulk_concurrency for tier in settings.tiers.values())
    if total > MOST_JOBS:
        yield Finding(
            about=tuple(
                f"tiers.{name}.{key}"
                for name in settings.tiers
                for key in ("concurrency", "bulk_concurrency")
            ),
            text=f"tiers: the tiers' concurrency adds up to {total}; one worker takes at most"
            f" {MOST_JOBS}: start more workers instead",
        )


def _backoffs(settings: Settings) -> Iterator[Finding]:
    retry = settings.retry
    for name in ("attempt_backoffs", "refusal_backoffs"):
        waits = getattr(retry, name)
        if any(later < sooner for sooner, later in pairwise(waits)):
            path = f"retry.{name}"
            text = f"{path} = {', '.join(map(format_duration, waits))}: no wait may be shorter than the one before"
            yield Finding(about=(path,), text=text)


def _bounds(settings: Settings) -> Iterator[Finding]:
    store, retry = settings.store, settings.retry
    if store.result_ttl > store.record_ttl:
        yield Finding(
            about=("store.result_ttl", "store.record_ttl"),
            text=f"store.result_ttl = {format_duration(store.result_ttl)} must not be longer than"
            f" store.record_ttl = {format_duration(store.record_ttl)}",
        )
    if store.cache_max_entry > store.cache_max_size:
        yield Finding(
            about=("store.cache_max_entry", "store.cache_max_size"),
            text=f"store.cache_max_entry = {format_size(store.cache_max_entry)} must not be larger"
            f" than store.cache_max_size = {format_size(store.cache_max_size)}",
        )
    if retry.try_backoff_base > retry.try_backoff_cap:
        yield Finding(
            about=("retry.try_backoff_base", "retry.try_backoff_cap"),
            text=f"retry.try_backoff_base = {format_duration(retry.try_backoff_base)} must not be"
            f" longer than retry.try_backoff_cap = {format_duration(retry.try_backoff_cap)}",
        )


def _plaintext(settings: Settings) -> Iterator[Finding]:
    broker, store = settings.broker, settings.store
    urls = [
        ("broker", "url", broker.url, broker.allow_plaintext),
        ("broker", "management_url", broker.management_url or "", broker.allow_plaintext),
        ("store", "url", store.url or "", store.allow_plaintext),
    ]
    for name, endpoint in settings.endpoints.items():
        urls.append((f"endpoints.{name}", "base_url", endpoint.base_url, endpoint.allow_plaintext))
    for section, key, value, allowed in urls:
        parts = split_url(value)
        if parts is None or allowed or parts.scheme not in {"amqp", "http", "redis"}:
            continue
        remote = [host for host in hosts_of(value) if not _is_loopback(host)]
        if remote:
            yield Finding(
                about=(f"{section}.{key}", f"{section}.allow_plaintext"),
                text=f"{section}.{key} sends keys and prompts to {', '.join(remote)} unencrypted: use"
                f" {parts.scheme}s://, or set {section}.allow_plaintext = true",
            )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _files(settings: Settings) -> Iterator[Finding]:
    files = [
        ("broker.ca_file", settings.broker.ca_file),
        ("store.ca_file", settings.store.ca_file),
    ]
    files += [
        (f"endpoints.{name}.ca_file", each.ca_file) for name, each in settings.endpoints.items()
    ]
    for path, file in files:
        if file is not None and not file.is_file():
            yield Finding(about=(path,), text=f"{path}: there is no such file in {file.parent}")
    store = settings.store
    if store.url is None and store.path.exists() and not store.path.is_dir():
        yield Finding(about=("store.path",), text=f"store.path = {store.path}: must be a folder")


def _budgets(settings: Settings) -> Iterator[Finding]:
    yield from check_budgets(settings.budgets, frozenset(settings.tiers))


_CHECKS: Final[tuple[Callable[[Settings], Iterator[Finding]], ...]] = (
    _tiers,
    _concurrency,
    _backoffs,
    consumer_timeout,
    record_ttl,
    which_store,
    _bounds,
    _plaintext,
    _files,
    managed_secrets,
    vault,
    _budgets,
    *serving.CHECKS,
)
