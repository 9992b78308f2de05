"""All planted bugs by name. `sound` plants none: it is the control of every scenario."""

from collections.abc import Callable, Mapping
from typing import Final

from tests.faults.mutants import ledger, line, publishing

SOUND: Final = "sound"

BUGS: Final[Mapping[str, Callable[[], None]]] = {
    SOUND: lambda: None,
    "acks-before-record": line.acks_before_it_records,
    "replies-before-record": line.replies_before_it_records,
    "marks-before-confirm": line.marks_before_the_confirm,
    "requeues-to-retry": line.requeues_to_retry,
    "calls-belong-to-channel": line.cancels_calls_with_their_channel,
    "takes-living-claims": ledger.takes_claims_of_the_living,
    "redelivery-is-death": ledger.takes_a_redelivery_for_a_death,
    "ends-unowned": ledger.ends_what_another_owns,
    "forgets-records": ledger.forgets_what_is_recorded,
    "replays-completed": ledger.replays_what_completed,
    "counts-before-find": ledger.counts_before_it_looks,
    "shares-across-tenants": ledger.shares_across_tenants,
    "publishes-unconfirmed": publishing.publishes_without_a_confirm,
}
