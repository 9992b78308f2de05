"""The command `warren`.

| module | holds |
| --- | --- |
| `main` | the entry point, which also answers when the extra `worker` is not installed |
| `commands` | the group and what its commands share |
| `serve` | `worker`, `check-config` |
| `submit` | `submit` |
| `batch` | `batch run`; its parts are in `batches` |
| `ask` | `result`, `cancel` |
| `look` | `status`, `explain` |
| `lane` | `lane status`, `pause`, `resume`, `set` |
| `dead` | `dead list`, `dead show`, `dead replay` |
| `spend` | `spend` |
| `shape` | `topology check`, `topology apply`, `topology show` |
| `configured`, `seconds` | what commands share: the configuration, durations |
| `doctor` | `doctor`, a folder of its own |
| `output` | tables for people, JSON for programs |
"""
