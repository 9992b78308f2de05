"""What each alert must and must not fire on: series by the minute, as promtool writes them, and the labels of what fires.

`0+2x30` begins at 0 and goes up by 2 for thirty steps; `1x30` stays at 1; `_` is a sample that is missing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """An alert, the series it sees, the minute at which it is looked at, and what then fires."""

    alert: str
    why: str
    series: Mapping[str, str]
    minute: int
    fires: Sequence[Labels] = ()


A, B = 'job="warren",instance="a"', 'job="warren",instance="b"'
ROUTE = 'tier="premium",endpoint="main"'
LANE = 'tier="premium",lane="interactive"'
WAITING = 'rabbitmq_detailed_queue_messages_ready{queue="warren.jobs.premium.interactive"}'
STANDING = {"tier": "premium", "lane": "interactive"}


def ended(state: str) -> str:
    return f'warren_jobs_total{{{LANE},state="{state}"}}'


def calls(kind: str, endpoint: str = "main") -> str:
    return f'warren_calls_total{{tier="premium",endpoint="{endpoint}",kind="{kind}"}}'


def waited(le: str) -> str:
    return f'warren_job_wait_seconds_bucket{{{LANE},le="{le}"}}'


CASES = [
    Case("WarrenNoWorker", "none is known", {'up{job="rabbitmq"}': "1x9"}, 3, [{"job": "warren"}]),
    Case("WarrenNoWorker", "one is known, if down", {f"up{{{A}}}": "0x9"}, 9),
    Case(
        "WarrenWorkerDown",
        "one of two is down",
        {f"up{{{A}}}": "1x9", f"up{{{B}}}": "1 1 0x9"},
        5,
        [{"job": "warren", "instance": "b"}],
    ),
    Case("WarrenWorkerDown", "a scrape failed once", {f"up{{{A}}}": "1 0 1x9"}, 5),
    Case("WarrenWorkerDown", "another job is down", {'up{job="rabbitmq"}': "0x9"}, 5),
    Case(
        "WarrenWorkerNotReady",
        "one is not ready",
        {f"warren_ready{{{A}}}": "0x9", f"warren_ready{{{B}}}": "1x9"},
        6,
        [{"job": "warren", "instance": "a"}],
    ),
    Case("WarrenWorkerNotReady", "it starts", {f"warren_ready{{{A}}}": "0 0 0 1x9"}, 8),
    Case(
        "WarrenStoreDown",
        "one worker has no answer",
        {f"warren_store_up{{{A}}}": "1 0x9", f"warren_store_up{{{B}}}": "1x9"},
        3,
        [{"job": "warren", "instance": "a"}],
    ),
    Case("WarrenStoreDown", "it is up", {f"warren_store_up{{{A}}}": "1x9"}, 5),
    Case(
        "WarrenRecordsLost",
        "one is lost",
        {f'warren_late_records_total{{{LANE},end="lost"}}': "0 0 1x60"},
        20,
        [{}],
    ),
    Case(
        "WarrenRecordsLost",
        "they were written",
        {
            f'warren_late_records_total{{{LANE},end="lost"}}': "0x60",
            f'warren_late_records_total{{{LANE},end="written"}}': "0+5x60",
        },
        20,
    ),
    Case(
        "WarrenBrokerDown",
        "the node is away",
        {'up{job="rabbitmq",instance="r"}': "1 0x9"},
        4,
        [{"job": "rabbitmq", "instance": "r"}],
    ),
    Case("WarrenBrokerDown", "it restarts", {'up{job="rabbitmq",instance="r"}': "1 0 1x9"}, 4),
    *(
        Case(
            "WarrenBrokerAlarm",
            f"{raised} alarm",
            {
                f'rabbitmq_alarms_{name}_watermark{{instance="r"}}': f"{int(name == raised)}x9"
                for name in ("memory_used", "free_disk_space")
            },
            3,
            [{"instance": "r"}],
        )
        for raised in ("memory_used", "free_disk_space")
    ),
    Case(
        "WarrenBrokerAlarm",
        "neither is raised",
        {
            'rabbitmq_alarms_memory_used_watermark{instance="r"}': "0x9",
            'rabbitmq_alarms_free_disk_space_watermark{instance="r"}': "0x9",
        },
        5,
    ),
    Case("WarrenQueueStands", "there is no worker", {WAITING: "5x60"}, 11, [STANDING]),
    Case(
        "WarrenQueueStands",
        "every slot hangs",
        {
            WAITING: "5x60",
            calls("ok"): "7x60",
            ended("completed"): "7x60",
            f'warren_paused_for{{{LANE},cause="lane"}}': "0x60",
        },
        25,
        [STANDING],
    ),
    Case(
        "WarrenQueueStands",
        "another tier works",
        {WAITING: "5x60", 'warren_calls_total{tier="budget",endpoint="main",kind="ok"}': "0+9x60"},
        25,
        [STANDING],
    ),
    Case(
        "WarrenQueueStands",
        "its tier's other lane is closed",
        {WAITING: "5x60", 'warren_paused_for{tier="premium",lane="bulk",cause="lane"}': "1x60"},
        25,
        [STANDING],
    ),
    Case("WarrenQueueStands", "calls end", {WAITING: "5x60", calls("timeout"): "0+1x60"}, 40),
    Case(
        "WarrenQueueStands",
        "the cache answers",
        {WAITING: "5x60", ended("completed"): "0+1x60"},
        40,
    ),
    Case(
        "WarrenQueueStands",
        "an operator closed the lane",
        {WAITING: "5x60", f'warren_paused_for{{{LANE},cause="lane",{A}}}': "1x60"},
        40,
    ),
    Case("WarrenQueueStands", "nothing waits", {WAITING: "0x60"}, 40),
    Case(
        "WarrenQueueStands",
        "dead letters wait",
        {'rabbitmq_detailed_queue_messages_ready{queue="warren.dead.premium"}': "5x60"},
        40,
    ),
    Case(
        "WarrenInteractiveWaits",
        "two of a hundred wait for minutes",
        {waited("60.0"): "0+98x60", waited("300.0"): "0+100x60", waited("+Inf"): "0+100x60"},
        20,
        [{"tier": "premium"}],
    ),
    Case(
        "WarrenInteractiveWaits",
        "one of two hundred does",
        {waited("60.0"): "0+199x60", waited("300.0"): "0+200x60", waited("+Inf"): "0+200x60"},
        20,
    ),
    Case(
        "WarrenInteractiveWaits", "none ends", {waited("60.0"): "9x60", waited("+Inf"): "9x60"}, 20
    ),
    Case(
        "WarrenDeadLettersGrow",
        "one in ten dies",
        {ended("completed"): "0+9x60", ended("dead_lettered"): "0+1x60"},
        40,
        [{"tier": "premium"}],
    ),
    Case(
        "WarrenDeadLettersGrow",
        "one in a hundred dies",
        {ended("completed"): "0+99x60", ended("dead_lettered"): "0+1x60"},
        40,
    ),
    Case(
        "WarrenDeadLettersGrow",
        "the only three of the night die",
        {ended("completed"): "0x60", ended("dead_lettered"): "0x20 1 2 3x40"},
        40,
    ),
    Case(
        "WarrenQuarantineGrows",
        "one message",
        {'warren_quarantined_total{tier="premium"}': "0 0 1x60"},
        20,
        [{"tier": "premium"}],
    ),
    Case(
        "WarrenQuarantineGrows",
        "an old one",
        {'warren_quarantined_total{tier="premium"}': "3x60"},
        20,
    ),
    Case(
        "WarrenTierPaused",
        "on both workers",
        {f'warren_paused_for{{{LANE},cause="endpoints",{each}}}': "1x60" for each in (A, B)},
        11,
        [STANDING],
    ),
    Case(
        "WarrenTierPaused",
        "on one of two",
        {
            f'warren_paused_for{{{LANE},cause="endpoints",{A}}}': "1x60",
            f'warren_paused_for{{{LANE},cause="endpoints",{B}}}': "0x60",
        },
        40,
    ),
    Case(
        "WarrenTierPaused",
        "by an operator",
        {f'warren_paused_for{{{LANE},cause="lane"}}': "1x60"},
        40,
    ),
    Case(
        "WarrenCircuitOpen",
        "open, and now and then half open",
        {
            f'warren_circuit_state{{endpoint="main",state="closed",{A}}}': "0x60",
            f'warren_circuit_state{{endpoint="main",state="open",{A}}}': "1 1 0 1 1 0 1x60",
            f'warren_circuit_state{{endpoint="main",state="half_open",{A}}}': "0 0 1 0 0 1 0x60",
        },
        11,
        [{"endpoint": "main"}],
    ),
    Case(
        "WarrenCircuitOpen",
        "on one worker of two",
        {
            f'warren_circuit_state{{endpoint="main",state="closed",{A}}}': "0x60",
            f'warren_circuit_state{{endpoint="main",state="closed",{B}}}': "1x60",
        },
        40,
    ),
    Case(
        "WarrenCircuitOpen",
        "it closed again",
        {f'warren_circuit_state{{endpoint="main",state="closed",{A}}}': "0x8 1x60"},
        40,
    ),
    Case(
        "WarrenKeyRefused",
        "one call",
        {calls("unauthorized"): "0 0 1x60", calls("ok"): "0+9x60"},
        5,
        [{"endpoint": "main", "kind": "unauthorized"}],
    ),
    Case("WarrenKeyRefused", "long ago", {calls("quota_exhausted"): "0 1x60"}, 40),
    Case("WarrenKeyRefused", "other failures", {calls("overloaded"): "0+9x60"}, 9),
    Case(
        "WarrenRateLimited",
        "two of a hundred",
        {calls("rate_limited"): "0+2x60", calls("ok"): "0+98x60", calls("ok", "backup"): "0+98x60"},
        25,
        [{"endpoint": "main"}],
    ),
    Case(
        "WarrenRateLimited",
        "one of two hundred",
        {calls("rate_limited"): "0+1x60", calls("ok"): "0+199x60"},
        25,
    ),
    Case(
        "WarrenRateLimited",
        "one of ten, all day",
        {calls("rate_limited"): "0 1x60", calls("ok"): "0 0+1x9 9x60"},
        25,
    ),
    Case(
        "WarrenLimitNearlyUsed",
        "busy, by one worker's word",
        {
            f'warren_limit_left{{endpoint="main",what="tokens",{A}}}': "400x60",
            f'warren_limit_per_minute{{endpoint="main",what="tokens",{A}}}': "10000x60",
            f'warren_limit_left{{endpoint="main",what="tokens",{B}}}': "9000x60",
            f'warren_limit_per_minute{{endpoint="main",what="tokens",{B}}}': "10000x60",
            calls("ok"): "0+9x60",
        },
        20,
        [{"endpoint": "main", "what": "tokens"}],
    ),
    *(
        Case(
            "WarrenLimitNearlyUsed",
            f"two workers use {used} of 600 {what} a minute, and nothing tells what is left",
            {
                **{
                    f'warren_limit_{of}{{endpoint="main",what="{each}",{worker}}}': values
                    for worker in (A, B)
                    for each in ("requests", "tokens")
                    for of, values in {
                        "per_minute": "600x60" if each == what else "NaN" + " NaN" * 60,
                        "left": "NaN" + " NaN" * 60,
                    }.items()
                },
                **{
                    f"warren_{name}_total{{{ROUTE},{worker}}}": f"0+{used // 2}x60"
                    for worker in (A, B)
                    for name in ["calls" if what == "requests" else "tokens"]
                },
            },
            30,
            [{"endpoint": "main", "what": what}] if used > 570 else [],
        )
        for what in ("requests", "tokens")
        for used in (560, 590)
    ),
    Case(
        "WarrenLimitNearlyUsed",
        "busy, with a tenth left",
        {
            'warren_limit_left{endpoint="main",what="requests"}': "60x60",
            'warren_limit_per_minute{endpoint="main",what="requests"}': "600x60",
            calls("ok"): "0+9x60",
        },
        40,
    ),
    Case(
        "WarrenLimitNearlyUsed",
        "idle since",
        {
            'warren_limit_left{endpoint="main",what="tokens"}': "400x60",
            'warren_limit_per_minute{endpoint="main",what="tokens"}': "10000x60",
            calls("ok"): "9x60",
        },
        40,
    ),
    Case(
        "WarrenLimitNearlyUsed",
        "no limit is known",
        {
            'warren_limit_left{endpoint="main",what="tokens"}': "NaN NaN NaN" + " NaN" * 40,
            'warren_limit_per_minute{endpoint="main",what="tokens"}': "NaN NaN NaN" + " NaN" * 40,
            calls("ok"): "0+9x60",
        },
        40,
    ),
    Case(
        "WarrenRetriesDenied",
        "for a quarter of an hour",
        {f"warren_retries_denied_total{{{ROUTE}}}": "0+1x60"},
        15,
        [{"tier": "premium", "endpoint": "main"}],
    ),
    Case(
        "WarrenRetriesDenied", "once", {f"warren_retries_denied_total{{{ROUTE}}}": "0 0 1x60"}, 15
    ),
    Case(
        "WarrenUnpricedCalls",
        "no price of one of two models is known",
        {
            f'warren_unpriced_calls_total{{{ROUTE},model="x"}}': "0+1x60",
            f'warren_call_seconds_count{{{ROUTE},model="x"}}': "0+1x60",
            f'warren_unpriced_calls_total{{{ROUTE},model="y"}}': "0x60",
            f'warren_call_seconds_count{{{ROUTE},model="y"}}': "0+9x60",
        },
        20,
        [{"endpoint": "main", "model": "x"}],
    ),
    Case(
        "WarrenUnpricedCalls",
        "one of ten was cut off",
        {
            f'warren_unpriced_calls_total{{{ROUTE},model="x"}}': "0+1x60",
            f'warren_call_seconds_count{{{ROUTE},model="x"}}': "0+10x60",
        },
        40,
    ),
    Case(
        "WarrenUnpricedCalls",
        "no call at all",
        {
            f'warren_unpriced_calls_total{{{ROUTE},model="x"}}': "7x60",
            f'warren_call_seconds_count{{{ROUTE},model="x"}}': "7x60",
        },
        40,
    ),
]
