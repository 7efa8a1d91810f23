"""Makes a failing model small: sets its decisions to the simplest, many at a time and then one by one, as long as the
model still fails in the same way."""

import time
from collections.abc import Callable

from decisions import Decisions
from model import write_model

SECONDS = 100  # for one model


def reduced(made: dict[str, int], fails: Callable[[str], bool]) -> dict[str, int]:
    """The decisions that are left; `fails` tells of a source text whether it does."""
    deadline = time.monotonic() + SECONDS

    def try_out(decisions: dict[str, int]) -> dict[str, int] | None:
        repeated = Decisions(made=decisions)
        text = write_model(repeated)
        return repeated.odd() if fails(text) else None

    current = {name: index for name, index in made.items() if index}
    changed = True
    while changed:
        changed = False
        for candidate in _simpler(current):
            if time.monotonic() > deadline:
                return current
            found = try_out(candidate)
            if found is not None and _size(found) < _size(current):
                current, changed = found, True
                break
    return current


def _size(decisions: dict[str, int]) -> tuple[int, int]:
    return len(decisions), sum(decisions.values())


def _simpler(current: dict[str, int]):
    """Smaller descriptions, the largest steps first."""
    for parts in (1, 2):
        groups = sorted({".".join(name.split(".")[:parts]) for name in current if "." in name})
        for group in groups:
            rest = {
                name: index for name, index in current.items() if name != group and not name.startswith(group + ".")
            }
            if len(rest) < len(current) - 1:
                yield rest
    for name in sorted(current):
        yield {other: index for other, index in current.items() if other != name}
    for name, index in sorted(current.items()):
        for lower in {1, index // 2, index - 1} - {0, index}:
            yield {**current, name: lower}
