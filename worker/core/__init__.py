"""Decisions: plain functions over frozen values. No I/O, no clock, no dice, standard library only.

| module | decides |
| --- | --- |
| `model` | nothing: the values that the others speak in |
| `classify` | what kind of failure an answer or a broken call is, and what that kind allows |
| `retry` | whether to try again now, and what becomes of the delivery |
| `parking` | in which parking queue a job waits, and for how long |
| `admission` | whether a job may run now |
| `routing` | which endpoint takes the next try |
| `fingerprint` | when two requests are the same, and whether they may share an answer |
| `hints` | what an upstream's Retry-After says |
"""
