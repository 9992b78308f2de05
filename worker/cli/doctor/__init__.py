"""`warren doctor`: what would keep a worker from doing its work here, and the line that mends it.

| module | holds |
| --- | --- |
| `finding` | a finding as a value, and the exit status that findings make |
| `broker`, `host`, `endpoint`, `clock` | plain functions from facts to findings |
| `look`, `reach` | gather the facts, of broker and machine, and of the endpoints: only they touch the world |
| `command` | the command |
"""
