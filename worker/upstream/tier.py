"""What is configured of a tier's calls."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TierSpec:
    """One tier's calls. `fallback_models` are asked in their order where no endpoint can answer with the model asked for.

    After `hedge_after_s` without an answer a second endpoint is asked too, for at most `hedge_share` of the
    tier's calls; None: never.
    """

    fallback_models: tuple[str, ...] = ()
    hedge_after_s: float | None = None
    hedge_share: float = 0.05
