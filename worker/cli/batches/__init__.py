"""What `warren batch run` is made of.

| module | holds |
| --- | --- |
| `format` | OpenAI's Batch format: what a line asks for; pure |
| `results` | the lines that tell what became of it; pure |
| `known` | which custom ids have a result, and which were met; pure |
| `reading` | the input in lines of bounded length, whatever its size |
| `writing` | the output: locked, continued after a kill, a whole line at a time |
| `running` | from lines to requests to results |
| `stopping` | a signal that ends a run in order |
| `progress` | how far it is, for a terminal or for a log |
| `session` | one run: files opened and locked, client opened, how it ended |
"""
