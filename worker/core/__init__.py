"""Decisions: plain functions over frozen values. No I/O, no clock, no dice, standard library only.

| module | decides |
| --- | --- |
| `model`, `events` | nothing: the values that the others speak in, and what the line tells |
| `content`, `renaming` | what a request's body says, and when two are the same; another model's name in it |
| `admission` | whether a job may run now |
| `lanes`, `windows`, `rations` | whether a lane is open, and how many calls it may start |
| `serving` | which endpoints can answer a job, and with which model |
| `routing`, `candidate`, `latency` | which endpoint takes the next try, by what is known of each |
| `limits`, `estimate` | whether an account's minute has room, and for how many tokens |
| `concurrency` | how many calls an endpoint bears at once |
| `circuit` | whether an endpoint is worth a call |
| `seats`, `terms` | nothing: the right to call an endpoint now, and what there is instead; what a call needs when its job begins |
| `bill` | nothing: what an attempt leaves to be settled with its record |
| `budgets`, `spend`, `ceiling` | whether there is money for a call, and how much it may cost at most |
| `costs`, `charges`, `money` | what a call has cost, also one that failed; how stores keep it |
| `quick`, `retrybudget` | whether to try again at once, and how often the traffic may |
| `classify`, `kinds`, `hints` | what kind of failure an answer or a broken call is, what that allows, what headers tell of limits |
| `retry`, `parking` | what becomes of the delivery; in which parking queue a job waits, and for how long |
| `replies`, `letters` | what a submission hears; dead letters as operators see them |
"""
