"""A worker's parts, each made from the settings that concern it: `app` puts them together."""

import random
import ssl
from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final
from urllib.parse import quote, urlsplit

from producer_sdk.wire import Lane, request_key
from worker.broker.address import Address
from worker.broker.codec import TierRules
from worker.broker.connection import Connections
from worker.broker.trouble import Troubles
from worker.core.budgets import Budget
from worker.core.costs import Price
from worker.core.events import Counted, LimitSeen
from worker.core.lanes import LaneRules
from worker.core.model import Job
from worker.core.quick import TryPolicy
from worker.core.retry import RetryPolicy
from worker.core.retrybudget import BudgetPolicy
from worker.core.serving import offers
from worker.errors import SettingsError
from worker.keys import EndpointKey
from worker.ports import Clock, Limits, Listener, Spend
from worker.pricing import Prices
from worker.settings import (
    BrokerSettings,
    EndpointSettings,
    RetrySettings,
    Settings,
    TierSettings,
)
from worker.spending import Spending
from worker.upstream.client import UpstreamClient
from worker.upstream.endpoint import Endpoint
from worker.upstream.spec import EndpointSpec
from worker.upstream.tier import TierSpec

# Model names come from requests: whoever makes them up gets no room.
_MOST_KEPT: Final = 1024


def broker_address(broker: BrokerSettings) -> Address:
    """Give the broker's address with the password in it, which the settings keep apart."""
    parts = urlsplit(broker.url)
    if broker.password is not None:
        user, _, host = parts.netloc.rpartition("@")
        secret = quote(broker.password.reveal(), safe="")
        parts = parts._replace(netloc=f"{user}:{secret}@{host}")
    return Address.parse(parts.geturl(), allow_plaintext=broker.allow_plaintext)


def broker_tls(broker: BrokerSettings) -> ssl.SSLContext | None:
    """Give the context that trusts the configured certificates; None: the system's."""
    if broker.ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(broker.ca_file))
    except OSError as error:  # ssl's own errors are some
        problem = f"broker.ca_file: {broker.ca_file} holds no readable certificates ({error}); it must be a PEM file"
        raise SettingsError((problem,)) from error


def connections(broker: BrokerSettings, troubles: Troubles) -> Connections:
    """Give the connections to the broker, not yet open.

    Raises:
        SettingsError: the configured certificates cannot be read.
    """
    return Connections.to(
        broker_address(broker),
        troubles=troubles,
        tls=broker_tls(broker),
        heartbeat_s=broker.heartbeat.total_seconds(),
        reconnect_s=broker.reconnect_interval.total_seconds(),
    )


def hold(broker: BrokerSettings) -> timedelta | None:
    """Give how long a consumer is to say that it may hold a delivery; None: its queue would not let it."""
    return broker.consumer_timeout if broker.queue_type == "quorum" else None


def models_named(settings: Settings) -> Mapping[str, tuple[str, ...]]:
    """Give the models that metrics tell apart at each endpoint: its own, or those with a price if it serves every one."""
    return {
        name: tuple(endpoint.models) or tuple(settings.prices)
        for name, endpoint in settings.endpoints.items()
    }


def tell_limits(settings: Settings, listener: Listener) -> None:
    """Tell each limit that the configuration sets; what is left of it nobody knows yet."""
    for name, endpoint in settings.endpoints.items():
        for what, limit in (
            (Counted.REQUESTS, endpoint.requests_per_minute),
            (Counted.TOKENS, endpoint.tokens_per_minute),
        ):
            if limit:
                listener.tell(LimitSeen(endpoint=name, what=what, limit=limit, left=None))


def lanes_of(tiers: Iterable[str]) -> list[tuple[str, Lane]]:
    """Give every lane of every tier."""
    return [(tier, lane) for tier in tiers for lane in Lane]


def lane_rules(tiers: Mapping[str, TierSettings]) -> Mapping[str, LaneRules]:
    """Give what is configured for each lane, by `<tier>.<lane>`."""
    return {
        request_key(name, lane): LaneRules(
            concurrency=tier.concurrency,
            per_minute=tier.requests_per_minute,
            windows=tier.windows,
        )
        if lane is Lane.INTERACTIVE
        else LaneRules(
            concurrency=tier.bulk_concurrency,
            per_minute=tier.bulk_requests_per_minute,
            windows=tier.bulk_windows,
        )
        for name, tier in tiers.items()
        for lane in Lane
    }


def upstream(
    settings: Settings, clock: Clock, listener: Listener, *, limits: Limits
) -> UpstreamClient:
    """Give the client of all endpoints; `limits` counts what their accounts use."""
    endpoints = {
        name: Endpoint(
            endpoint_spec(endpoint, _key(settings, name, clock, listener)),
            clock=clock,
        )
        for name, endpoint in settings.endpoints.items()
    }
    retry = settings.retry
    return UpstreamClient(
        {
            name: [endpoints[each] for each in tier.endpoints]
            for name, tier in settings.tiers.items()
        },
        policy=TryPolicy(
            tries=retry.tries,
            base_s=min(retry.try_backoff_base, retry.try_backoff_cap).total_seconds(),
            cap_s=retry.try_backoff_cap.total_seconds(),
        ),
        clock=clock,
        chance=random.random,
        listener=listener,
        specs={name: tier_spec(tier) for name, tier in settings.tiers.items()},
        routing={name: tier.routing for name, tier in settings.tiers.items()},
        budget=BudgetPolicy(share=retry.budget_share),
        limits=limits,
        price=_prices(settings),
    )


def _prices(settings: Settings) -> Prices:
    return Prices(
        {name: endpoint.base_url for name, endpoint in settings.endpoints.items()},
        {
            model: Price(
                input=price.input,
                output=price.output,
                cached_input=price.cached_input,
                cache_write=price.cache_write,
            )
            for model, price in settings.prices.items()
        },
        {name: endpoint.models for name, endpoint in settings.endpoints.items()},
    )


def _key(settings: Settings, name: str, clock: Clock, listener: Listener) -> EndpointKey | None:
    secret, reread = settings.endpoints[name].key, settings.secrets.reread
    if secret is None:
        return None
    about = f"endpoints.{name}.key"
    return EndpointKey(secret, clock, about=about, listener=listener, reread=reread)


def tier_spec(tier: TierSettings) -> TierSpec:
    """Give what is configured of a tier's calls."""
    after = tier.hedge_after
    return TierSpec(
        fallback_models=tier.fallback_models,
        hedge_after_s=None if after is None else after.total_seconds(),
        hedge_share=tier.hedge_share,
    )


def endpoint_spec(endpoint: EndpointSettings, key: EndpointKey | None = None) -> EndpointSpec:
    """Give what is configured of an endpoint, with its key's provider."""
    return EndpointSpec(
        name=endpoint.name,
        base_url=endpoint.base_url,
        key=key,
        key_replaced=None if key is None else key.replaced,
        key_header=endpoint.key_header,
        api=endpoint.api,
        api_version=endpoint.api_version,
        paths=endpoint.paths,
        models=endpoint.models,
        account=endpoint.account or endpoint.name,
        requests_per_minute=endpoint.requests_per_minute,
        tokens_per_minute=endpoint.tokens_per_minute,
        concurrency=endpoint.concurrency,
        max_concurrency=endpoint.max_concurrency,
        http=endpoint.http,
        weight=endpoint.weight,
        connect_timeout_s=endpoint.connect_timeout.total_seconds(),
        read_timeout_s=endpoint.read_timeout.total_seconds(),
        ca_file=endpoint.ca_file,
        extra_headers={name.lower(): value for name, value in endpoint.headers.items()},
        max_response_bytes=endpoint.max_response,
        allow_plaintext=endpoint.allow_plaintext,
    )


def retry_policy(retry: RetrySettings) -> RetryPolicy:
    """Give the one budget of all retrying."""
    return RetryPolicy(
        max_attempts=retry.max_attempts,
        backoffs=retry.attempt_backoffs,
        max_refusals=retry.max_refusals,
        refusal_backoffs=retry.refusal_backoffs,
    )


def tier_rules(tier: TierSettings, lane: Lane) -> TierRules:
    """Give what a lane's queue decides about its jobs."""
    return TierRules(
        tier=tier.name,
        lane=lane,
        dedupe=tier.dedupe,
        default_deadline=tier.deadline,
        max_deadline=tier.max_deadline,
    )


def budgets(settings: Settings) -> tuple[Budget, ...]:
    """Give the rules about money."""
    return tuple(
        Budget(
            name=name,
            tenant=budget.tenant,
            tier=budget.tier,
            per=budget.per,
            usd=budget.usd,
            on_exceeded=budget.on_exceeded,
            unpriced=budget.unpriced,
        )
        for name, budget in settings.budgets.items()
    )


def spending(settings: Settings, *, spend: Spend, clock: Clock) -> Spending:
    """Give what holds jobs to their budgets.

    The most that a call costs is what it costs at the dearest endpoint that can answer it, with the dearest of the
    models that it may be answered with; where not all of these have a price, it is reckoned by those that have one.
    """
    prices, tiers = _prices(settings), settings.tiers
    serving = {
        name: endpoint_spec(endpoint, None).serving for name, endpoint in settings.endpoints.items()
    }

    @lru_cache(maxsize=_MOST_KEPT)
    def places(tier_name: str, path: str, model: str) -> tuple[tuple[str, str], ...]:
        tier = tiers[tier_name]
        found = offers(
            path,
            model,
            fallbacks=tier.fallback_models,
            endpoints=[serving[each] for each in tier.endpoints],
        )
        return tuple((tier.endpoints[each.endpoint], each.model) for each in found)

    def estimate(job: Job) -> Decimal | None:
        return prices.highest(job, places(job.tier, job.path, job.model), at=clock.now())

    def reckon(job: Job) -> tuple[Decimal | None, Decimal | None]:
        found, now = places(job.tier, job.path, job.model), clock.now()
        unknown = prices.highest(job, found, at=now, standard=True)
        return unknown, prices.highest_known(job, found, at=now)

    return Spending(
        budgets(settings),
        spend=spend,
        estimate=estimate,
        reckon=reckon,
        clock=clock,
        chance=random.random,
    )
