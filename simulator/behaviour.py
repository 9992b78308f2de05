"""What can be changed while the simulator runs, in one place for the control API and tests."""

from collections.abc import Callable
from dataclasses import dataclass, field

from simulator.accounts import Accounts
from simulator.clock import mono_ns
from simulator.latency import Latencies
from simulator.script import Script
from simulator.stats import Stats
from simulator.storm import Storm


@dataclass(slots=True, kw_only=True)
class Behaviour:
    """The plans, the latencies, the limits and the counts of one simulator.

    `now_ns` is the clock that limits and storms go by.
    """

    script: Script = field(default_factory=Script)
    latencies: Latencies = field(default_factory=Latencies)
    accounts: Accounts = field(default_factory=Accounts)
    storm: Storm = field(default_factory=Storm)
    stats: Stats = field(default_factory=Stats)
    now_ns: Callable[[], int] = mono_ns

    def heal(self) -> None:
        """Make every call `ok` until a new script, new chaos or a new storm; limits stay."""
        self.script.heal()
        self.storm = Storm()

    def reset(self) -> None:
        """Let every plan start again and every count start at zero."""
        self.script.reset()
        self.stats.reset()
        self.accounts.start_again()

    def snapshot(self) -> dict[str, object]:
        """Give all counts as JSON-ready values."""
        return {**self.stats.snapshot(), "keys": self.accounts.snapshot(self.now_ns())}
