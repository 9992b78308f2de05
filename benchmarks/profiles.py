"""What is made of a profile: a flame graph, and where the CPU of a job went by layer, as Markdown and as bars."""

from pathlib import Path

from benchmarks import bars, flame, layers
from benchmarks.grid import markdown
from stack.house import ROOT


def described(raw: Path, title: str, cpu_us_per_job: float) -> list[Path]:
    """Write them beside py-spy's folded stacks, instead of these, and give where they are; none: it took no sample."""
    if not raw.exists():
        return []
    stacks = layers.folded(raw.read_text(encoding="utf-8"), str(ROOT))
    raw.unlink()  # it names this machine's folders
    if not stacks:
        return []
    found = layers.by_layer(stacks)
    written = {
        raw.with_suffix(".svg"): flame.svg(stacks, title),
        raw.with_suffix(".md"): markdown(layers.grid(found, title, cpu_us_per_job)),
        raw.with_name(f"{raw.stem}-layers.svg"): bars.svg(
            layers.bars(found, cpu_us_per_job), f"{title}: CPU of a job by layer, in microseconds"
        ),
    }
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
    return list(written)
