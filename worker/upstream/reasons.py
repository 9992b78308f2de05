"""Why an upstream refused, where its status and code do not say it: from Google's details, metadata and known wordings.

Of the texts nothing is kept. A tenant can have a part of his request quoted in an error's text; what would stop an endpoint
for all is therefore believed only from details that no request can reach, or from a text's beginning.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final

from worker.core.classify import Reason
from worker.core.hints import delay

_MOST: Final = 32
"""So many details, or violations in one, are looked at."""

_BEGINNINGS: Final[tuple[tuple[str, Reason], ...]] = (
    ("your credit balance is too low", Reason.QUOTA),  # Anthropic, 400 invalid_request_error
    ("incorrect api key provided", Reason.KEY),  # xAI, 400
    ("api key not valid", Reason.KEY),  # Gemini, 400, where the details are missing
    ("api key expired", Reason.KEY),
    ("user location is not supported", Reason.KEY),  # Gemini, 400 FAILED_PRECONDITION
    ("budget has been exceeded", Reason.QUOTA),  # LiteLLM, 400
    ("exceededbudget", Reason.QUOTA),
    ("out of call volume quota", Reason.QUOTA),  # Azure API Management, 403
    ("key limit exceeded", Reason.QUOTA),  # OpenRouter, 403
    ("rate limit exceeded: free-models-per-day", Reason.QUOTA),  # OpenRouter, 429
    # OpenAI 429, Groq 413: larger than what may be used in a minute, so no waiting helps.
    ("request too large for", Reason.TOO_LONG),
)
# These concern the one job only, wherever they stand.
_WORDS: Final[tuple[tuple[str, Reason], ...]] = (
    ("maximum context length", Reason.TOO_LONG),  # vLLM, Mistral, OpenRouter
    ("prompt is too long", Reason.TOO_LONG),  # Anthropic
    ("exceeds the maximum number of tokens", Reason.TOO_LONG),  # Gemini
    ("exceeds the context window", Reason.TOO_LONG),  # OpenAI
)
_GOOGLE_REASONS: Final[Mapping[str, Reason]] = {
    "API_KEY_INVALID": Reason.KEY,  # under 400
    "API_KEY_EXPIRED": Reason.KEY,
    "BILLING_DISABLED": Reason.QUOTA,
}
_BY_THE_DAY: Final = "PerDay"
_NONE_AT_ALL: Final = "0"


def reason_of(error: Mapping[str, object]) -> Reason | None:
    """Give why the upstream refused, from its error object; None: it does not say more than status and code."""
    return _of_details(error) or _of_metadata(error) or _of_text(error.get("message"))


def google_word(error: Mapping[str, object]) -> object:
    """Give Google's own word for the error, of a detail or else the status; None: it is not Google's."""
    for kind, detail in _details(error):
        if kind == "ErrorInfo":
            return detail.get("reason")
    return error.get("status")


def retry_delay(error: Mapping[str, object]) -> timedelta | None:
    """Give the delay of Google's RetryInfo, bounded as every hint; None: there is none."""
    for kind, detail in _details(error):
        if kind == "RetryInfo":
            return delay(detail.get("retryDelay"))
    return None


def _details(error: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Give the details of a `google.rpc.Status` with the last part of their type's name."""
    details = error.get("details")
    if not isinstance(details, list):
        return
    for detail in details[:_MOST]:
        if isinstance(detail, dict) and isinstance(kind := detail.get("@type"), str):
            yield kind.rpartition(".")[2], detail


def _of_details(error: Mapping[str, object]) -> Reason | None:
    for kind, detail in _details(error):
        if kind == "QuotaFailure" and (found := _of_violations(detail.get("violations"))):
            return found
        if kind == "ErrorInfo" and isinstance(word := detail.get("reason"), str):
            found = _GOOGLE_REASONS.get(word)
            if found is not None:
                return found
    return None


def _of_violations(violations: object) -> Reason | None:
    """A quota by the day, or one of nothing, is gone for now; all others come back by the minute."""
    if not isinstance(violations, list) or not violations:
        return None
    for each in violations[:_MOST]:
        if isinstance(each, dict) and (
            _BY_THE_DAY in str(each.get("quotaId")) or str(each.get("quotaValue")) == _NONE_AT_ALL
        ):
            return Reason.QUOTA
    return Reason.RATE


def _of_metadata(error: Mapping[str, object]) -> Reason | None:
    """OpenRouter tells by the reasons in `metadata` that a 403 means the input, not the key."""
    metadata = error.get("metadata")
    flagged = isinstance(metadata, dict) and isinstance(metadata.get("reasons"), list)
    return Reason.UNWANTED if flagged else None


def _of_text(text: object) -> Reason | None:
    if not isinstance(text, str):
        return None
    text = text.casefold()
    for beginning, reason in _BEGINNINGS:
        if text.startswith(beginning):
            return reason
    return next((reason for words, reason in _WORDS if words in text), None)
