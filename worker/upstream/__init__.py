"""The only folder that knows HTTP: calls endpoints, and says as values what came of it.

| module | what it is |
| --- | --- |
| `client` | the port `Upstream`: attempts of quick tries over a tier's endpoints |
| `pool` | one tier's endpoints: who can answer a job, and who takes its next call |
| `post` | one endpoint as one tier sees it: its places, and what a call's end tells |
| `quota`, `bearing` | an account's limits a minute; how many calls an endpoint has in flight, and bears |
| `tariff` | what the endpoints of a tier charge for the same call |
| `hedging` | a second call beside one that keeps silent |
| `caller` | one call: made, priced, told of, and counted in what its attempt has spent |
| `charging` | what each call cost |
| `endpoint` | one endpoint: a configured value and its connections; makes one call |
| `standing` | what is known of an endpoint: its hold, its circuit, its probe |
| `spec`, `tier` | what is configured of an endpoint, with its checks, and of a tier's calls |
| `apis`, `site` | the known APIs: their hosts, paths and key headers; where an endpoint's calls go |
| `reading` | bytes of an answer to facts: shape, model, usage, error code |
| `reasons` | why an upstream refused, from details and known wordings |
| `body` | reads and unpacks a body under a byte cap |
| `breaks` | the HTTP library's exceptions to `Break`; the one place that knows them |
| `wire` | a request out and its answer in, without httpx's objects; over any httpx transport too |
| `transport` | the wire over pyqwest, an httpx transport as well; translates pyqwest's exceptions |
| `alpn` | asks a TLS server once whether it speaks HTTP/2 |

What kind of failure something is, which endpoint takes the next try and how long to pause is decided in
`worker/core` (`classify`, `circuit`, `routing`, `serving`, `limits`, `quick`, `hints`).
"""
