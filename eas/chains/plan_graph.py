"""A compact dependency graph for 10^6 tasks: longest path, cycles, and groups of equal nodes."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import accumulate, pairwise
from typing import TypeVar

Kind = TypeVar("Kind", bound=Hashable)


class PlanGraph:
    """Nodes are numbered from 0; an edge says that its target waits for its source."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self._weights = array("b")
        self._sources = array("i")
        self._targets = array("i")

    def add_node(self, label: str, weight: int) -> int:
        """Add a node that counts ``weight`` on a path; return its number."""
        self.labels.append(label)
        self._weights.append(weight)
        return len(self._weights) - 1

    def add_edge(self, source: int, target: int) -> None:
        """Let ``target`` wait for ``source``."""
        self._sources.append(source)
        self._targets.append(target)

    def longest_path(self) -> tuple[int, list[int]]:
        """Return the largest weight of a path, and the nodes without topological order: cycles and their dependants."""
        first, targets = self._adjacency(self._sources, self._targets)
        waiting = array("i", bytes(4 * len(self._weights)))
        for target in self._targets:
            waiting[target] += 1
        lengths = array("i", self._weights)
        ready = [node for node, count in enumerate(waiting) if not count]
        while ready:
            node = ready.pop()
            length = lengths[node]
            for target in targets[first[node] : first[node + 1]]:
                reached = length + self._weights[target]
                lengths[target] = max(lengths[target], reached)
                waiting[target] -= 1
                if not waiting[target]:
                    ready.append(target)
        stuck = [node for node, count in enumerate(waiting) if count]
        return max(lengths, default=0), stuck

    def cycles(self, stuck: list[int], limit: int) -> list[list[int]]:
        """Return up to ``limit`` cycles among the ``stuck`` nodes, each in the order of its waiting.

        Every stuck node waits for another one, so walking back from any of them ends in a cycle.
        """
        left = set(stuck)
        first, sources = self._adjacency(self._targets, self._sources)
        found: list[list[int]] = []
        seen: set[int] = set()
        for start in stuck:
            walk: dict[int, int] = {}
            node = start
            while node not in walk and node not in seen:
                walk[node] = len(walk)
                node = next(each for each in sources[first[node] : first[node + 1]] if each in left)
            if node in walk:
                found.append([each for each, place in walk.items() if place >= walk[node]][::-1])
                if len(found) >= limit:
                    break
            seen.update(walk)
        return found

    def groups(self, kinds: Sequence[Kind]) -> Counter[tuple[Kind, tuple[int, ...]]]:
        """Return how many nodes are of one kind and wait for nodes of the same groups.

        ``kinds``: one for each node. The keys are a kind and the sorted numbers of the groups that it waits for;
        groups are numbered in the order of the result, and each waits for earlier ones only. The iterations of
        a loop that do not wait for each other are one group for each task. Nodes of cycles are in no group.
        """
        first, targets = self._adjacency(self._sources, self._targets)
        first_source, sources = self._adjacency(self._targets, self._sources)
        waiting = array("i", (after - before for before, after in pairwise(first_source)))
        numbers: dict[tuple[Kind, tuple[int, ...]], int] = {}
        found: Counter[tuple[Kind, tuple[int, ...]]] = Counter()
        group_of = array("i", bytes(4 * len(self._weights)))
        ready = [node for node, count in enumerate(waiting) if not count]
        for node in ready:  # grows meanwhile
            before = {group_of[each] for each in sources[first_source[node] : first_source[node + 1]]}
            key = kinds[node], tuple(sorted(before))
            group_of[node] = numbers.setdefault(key, len(numbers))
            found[key] += 1
            for target in targets[first[node] : first[node + 1]]:
                waiting[target] -= 1
                if not waiting[target]:
                    ready.append(target)
        return found

    def _adjacency(self, tails: array[int], heads: array[int]) -> tuple[array[int], array[int]]:
        """Return the adjacency in compressed form: for each node the start of its neighbours, and all neighbours."""
        counts = [0] * (len(self._weights) + 1)
        for tail in tails:
            counts[tail + 1] += 1
        first = array("i", accumulate(counts))
        place = first[:]
        neighbours = array("i", bytes(4 * len(heads)))
        for tail, head in zip(tails, heads, strict=True):
            neighbours[place[tail]] = head
            place[tail] += 1
        return first, neighbours
