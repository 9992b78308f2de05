"""What can be changed while the simulator runs, in one place for the control API and tests."""

from dataclasses import dataclass, field

from simulator.latency import Latencies
from simulator.script import Script
from simulator.stats import Stats


@dataclass(slots=True, kw_only=True)
class Behaviour:
    """The plans, the latencies and the counts of one simulator."""

    script: Script = field(default_factory=Script)
    latencies: Latencies = field(default_factory=Latencies)
    stats: Stats = field(default_factory=Stats)

    def reset(self) -> None:
        """Let every plan start again and every count start at zero."""
        self.script.reset()
        self.stats.reset()
