"""Shares out faults among the combinations so that each kind comes equally often."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence


def distribute_faults(faults: int, kinds: Mapping[str, Sequence[str]], rng: random.Random) -> dict[str, list[str]]:
    """Return the kinds of the faults of each combination, in a random order.

    ``kinds`` are those that apply to each combination. Every fault is of a kind that was dealt least often so far, on
    a combination, among those that it applies to, with the fewest faults so far.
    """
    dealt: dict[str, list[str]] = {name: [] for name in kinds}
    times = Counter(dict.fromkeys((kind for applied in kinds.values() for kind in applied), 0))
    for _ in range(faults):
        least = min(times.values())
        kind = rng.choice(sorted(each for each, number in times.items() if number == least))
        fewest = [name for name, applied in kinds.items() if kind in applied]
        name = min(fewest, key=lambda each: (len(dealt[each]), each))
        dealt[name].append(kind)
        times[kind] += 1
    for each in dealt.values():
        rng.shuffle(each)
    return dealt
