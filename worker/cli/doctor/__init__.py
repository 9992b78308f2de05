"""`warren doctor`: what would keep a worker from doing its work here, and the line that mends it.

| module | holds |
| --- | --- |
| `finding` | a finding as a value, and the exit status that findings make |
| `broker`, `redis`, `host`, `endpoint`, `clock` | plain functions from facts to findings |
| `look`, `stored`, `reach` | gather the facts, of broker and machine, of the store, and of the endpoints: only they touch the world |
| `secrets` | reads every secret, and tells which cannot be |
| `command` | the command |
"""
