"""The worker: takes jobs from RabbitMQ, calls the upstream once, and settles every delivery exactly once.

| module or folder | what it is |
| --- | --- |
| `app` | the composition root: build, start, quiet, drain, stop |
| `parts`, `stores` | what it puts together, each made from the settings that concern it |
| `descriptors` | how many files it may have open: a connection for each call |
| `garbage` | how often it looks for cyclic garbage |
| `settings` | one file, environment and secret files to frozen settings |
| `pipeline` | the straight line that a delivery takes |
| `starting` | how a job comes to its call: slot, permit, seat, money, claim |
| `recording` | the call, and the record of what it has yielded |
| `waiting` | how a delivery waits: in place for a moment, parked for longer |
| `settling` | the line's end: records what was decided, and carries it out |
| `owncalls` | the calls that this process makes now |
| `calloff` | closes the calls of cancelled jobs |
| `background` | the parts' own loops, kept up |
| `crew` | the tasks that carry deliveries, owned by the worker |
| `calling` | one attempt under its time limits |
| `spending` | the money of a job's calls: reserved before each, settled after it |
| `counting` | permits, money and the claim one after the other, where the store cannot count them together |
| `lanes`, `slots` | the lanes as they stand now; how many jobs of one may be at what at once |
| `asking` | answers what tenants and operators ask about jobs |
| `outage`, `unrecorded`, `ownlimits` | whether the store answers; what is done without it, where that is chosen |
| `patience` | the stores as the line wants them: they wait, or know nothing |
| `keys` | an endpoint's key, read anew every few seconds, and when it is refused |
| `pricing` | the prices of models |
| `ports` | the narrow interfaces between the line and the world |
| `core` | decisions, pure |
| `broker` | the only folder that knows AMQP |
| `upstream` | the only folder that knows HTTP |
| `store` | ledger, response cache, rations, limits, spend: in a file or in Redis |
| `secrets` | the only folder that knows managers of secrets |
| `telemetry` | logs, metrics, health: they listen to events |
| `cli` | the command `warren` |
| `clock` | the only reader of time |
| `errors` | the worker's exceptions |
"""
