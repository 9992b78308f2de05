"""Figures of a contestant that ran in no benchmark."""

from benchmarks.figures import SHARES, Figures


def figures(jobs_per_s: float = 100, cpu_us_per_job: float = 500, **loads: float) -> Figures:
    """Give the figures of one round; `loads` are those at rates, by names such as "added_p50_ms_at_50%"."""
    rates = {name.rpartition("_at_")[2] for name in loads}
    return Figures(
        jobs_per_s=jobs_per_s,
        cpu_us_per_job=cpu_us_per_job,
        rss_mb=40,
        pss_mb=35,
        start_ms=200,
        latency_p50_ms=50,
        latency_p99_ms=60,
        calls_per_job=1,
        cores={"worker": 0.5, "simulator": 0.2},
        busiest_simulator=0.2,
        loads=loads,
        curves={rate: [float(number) for number in range(len(SHARES))] for rate in rates},
    )
