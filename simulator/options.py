"""The command line: what can be said, taught with examples, and turned into a Simulator."""

import argparse
import json
from pathlib import Path
from typing import Final

from simulator.faults import WORDS
from simulator.latency import AT_ONCE, Latencies, parse_distribution
from simulator.quota import Limits
from simulator.script import parse_chaos, parse_rules
from simulator.server import Simulator, tls_context

_EXAMPLES: Final = f"""
examples:
  a quick upstream on a free port, its number in a file
    python -m simulator --port-file /tmp/sim.port

  answers after about 0.8 s, mostly; a small model at once
    python -m simulator --latency 'lognormal(0.8,0.5)' --latency 'gpt-small=fixed(0.02)'

  3 of 10 calls fail, the same ones each time; every call in a log
    python -m simulator --chaos '{{"503": 0.2, "429(retry-after=1)": 0.1, "seed": 7}}' --log calls.jsonl

  each key may make 600 calls and use 20,000 tokens in any minute; a refusal says when to come again
    python -m simulator --limit-requests 600 --limit-tokens 20000

  every call fails for a minute, then all is as before
    curl -X PUT localhost:8080/_sim/storm -d '{{"503": 1, "for_s": 60}}'

  a plan by request: the client sends it in the field "user"
    curl localhost:8080/v1/chat/completions -H 'content-type: application/json' -d '{{
      "model": "gpt-small", "user": "sim:503,503", "messages": [{{"role": "user", "content": "hi"}}]}}'

  a plan by script, put in force while it runs
    curl -X PUT localhost:8080/_sim/script -d '[{{"match": {{"contains": "poison"}}, "plan": "400!"}}]'
    curl -X POST localhost:8080/_sim/heal
    curl localhost:8080/_sim/stats

plans: faults separated by commas, one for each call of a request; then ok, or '!' for good
  503,503   400!   429(retry-after=2),ok   slow(1.5),reset_body   gzip_bomb(100000000)!
hints of a refusal, separated by ';': retry-after=TEXT  retry-after-ms=N  retry-date=SECONDS
  insufficient_quota
faults: {", ".join(WORDS)}

control: GET /_sim/stats; PUT /_sim/script, /_sim/chaos, /_sim/storm, /_sim/latency, /_sim/limits
  POST /_sim/heal, /_sim/reset
"""


def parser() -> argparse.ArgumentParser:
    """Give the parser of `python -m simulator`."""
    wide = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(
        prog="python -m simulator",
        description="A stand-in for an OpenAI-compatible API that misbehaves on request.\n"
        "HTTP/1.1 and HTTP/2 on one port. Prints one line with its address; ends on SIGTERM.",
        epilog=_EXAMPLES,
        formatter_class=wide,
    )
    add = made.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=0, help="port to listen on (default: a free one)")
    add("--reuse-port", action="store_true", help="share the port with others that say so too")
    add("--port-file", type=Path, metavar="F", help="write the port here once it is open")
    add("--log", type=Path, metavar="FILE", help="append a JSON line per start and end of a call")
    add("--script", type=Path, metavar="FILE", help="JSON list of rules, see 'a plan by script'")
    add("--chaos", metavar="JSON", help="random faults by share, with a seed")
    add(
        "--latency",
        action="append",
        default=[],
        metavar="[PREFIX=]D",
        help="fixed(s), uniform(low,high) or lognormal(median,sigma), for models with this prefix",
    )
    add(
        "--limit-requests", type=int, metavar="N", help="a key's requests in any minute, 429 beyond"
    )
    add("--limit-tokens", type=int, metavar="N", help="a key's tokens in any minute, 429 beyond")
    add("--seed", type=int, default=0, help="seed of the latencies (default: %(default)s)")
    add("--require-key", metavar="KEY", help="refuse any other bearer token with 401")
    add(
        "--require-key-file",
        type=Path,
        metavar="F",
        help="as above, the key in a file, read at every call",
    )
    add("--goaway-every", type=int, metavar="N", help="HTTP/2: GOAWAY after N streams")
    add("--max-streams", type=int, default=1000, metavar="N", help="HTTP/2: streams at once")
    add("--tls-cert", type=Path, metavar="F", help="serve TLS only, with ALPN")
    add("--tls-key", type=Path, metavar="F", help="the certificate's key")
    add("--die-with-parent", action="store_true", help="end when the parent process ends")
    return made


def build(options: argparse.Namespace) -> Simulator:
    """Make the simulator that the options ask for; raise ValueError or OSError if they are wrong."""
    if (options.tls_cert is None) != (options.tls_key is None):
        raise ValueError("--tls-cert and --tls-key belong together: give both or none")
    for name in ("goaway_every", "max_streams"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} {value}: expected 1 or more")
    key: str | Path | None = options.require_key
    if options.require_key_file is not None:
        key = options.require_key_file
        options.require_key_file.read_text()  # what is wrong with it is told at start
    return Simulator(
        host=options.host,
        port=options.port,
        reuse_port=options.reuse_port,
        log=options.log,
        rules=parse_rules(json.loads(options.script.read_text())) if options.script else (),
        chaos=parse_chaos(json.loads(options.chaos)) if options.chaos else None,
        latencies=_latencies(options.latency, options.seed),
        limits=Limits(requests=options.limit_requests, tokens=options.limit_tokens),
        require_key=key,
        goaway_every=options.goaway_every,
        max_streams=options.max_streams,
        tls=tls_context(options.tls_cert, options.tls_key) if options.tls_cert else None,
        keep_calls=False,
    )


def _latencies(texts: list[str], seed: int) -> Latencies:
    default, by_prefix = AT_ONCE, []
    for text in texts:
        prefix, named, rest = text.rpartition("=")
        if named:
            by_prefix.append((prefix, parse_distribution(rest)))
        else:
            default = parse_distribution(text)
    return Latencies(default=default, by_prefix=tuple(by_prefix), seed=seed)
