"""Named decisions: the description of a random model.

The grammar asks for each of its decisions by name and gets an option. Drawn from a seed, a decision depends on the seed
and on its own name alone, so that one more decision elsewhere changes no other. The decisions that were made are the
whole description of a model, a small table of names and indices. Options stand from the simplest to the oddest: the
reducer sets one decision after the other to 0, and a decision that a table does not have is 0.
"""

import random


class Decisions:
    def __init__(self, seed: int | None = None, made: dict[str, int] | None = None):
        """Draws from `seed`, or repeats a table of decisions where there is no seed."""
        self._seed = seed
        self._fixed = made or {}
        self.made: dict[str, int] = {}

    def choose(self, name: str, *options, simple: float | None = None):
        """One of the options; the first has the probability `simple`, by default the same as each other."""
        if name not in self.made:
            self.made[name] = self._index(name, len(options), simple)
        return options[self.made[name] % len(options)]

    def maybe(self, name: str, probability: float) -> bool:
        return self.choose(name, False, True, simple=1 - probability)

    def odd(self) -> dict[str, int]:
        """The decisions that are not the simplest: what a reduced model is told by."""
        return {name: index for name, index in self.made.items() if index}

    def _index(self, name: str, count: int, simple: float | None) -> int:
        if self._seed is None:
            return self._fixed.get(name, 0)
        draw = random.Random(f"{self._seed}/{name}")
        if simple is not None and draw.random() < simple:
            return 0
        return draw.randrange(0 if simple is None else min(1, count - 1), count)
