"""Telemetry: logs, metrics and health. It listens to the line's events and knows nothing else of it.

| module | what it is |
| --- | --- |
| `fanout` | one listener that tells several, and outlives one that raises |
| `logs` | the log: one line per ended job, and what an operator should know |
| `lines` | what of an event goes into a line; never content, keys or secrets |
| `sink` | where lines go: one write each, JSON or for people |
| `throttle` | keeps a storm of the same line from flooding the log |
| `libraries` | lines of other libraries, cleaned, into the same stream |
| `metrics` | which event moves which metrics, and the page that shows them |
| `catalogue` | every metric, in a registry of its own |
| `job_metrics`, `call_metrics`, `pool_metrics`, `worker_metrics` | each metric: name, meaning, labels, and what moves it |
| `binding` | the label values that have series, and metrics made for them |
| `series` | metric children bound once, so that series stay bounded for any input |
| `readiness` | what `/livez` and `/readyz` know: the loop's pulse, and which parts are ready |
| `health` | `/livez`, `/readyz` and `/metrics` over HTTP, in a thread of its own |
| `web` | the bounded little HTTP server below it |
"""
