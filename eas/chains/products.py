"""Makers and readers of the file products of a planned chain."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from typing import NamedTuple

from eas.chains.plan_graph import PlanGraph


class Maker(NamedTuple):
    """The task that makes a product: JSON path of its descriptor, and its task type."""

    path: str
    task_type: str


class External(NamedTuple):
    """An input that no task of the chain makes; ``path`` is the JSON path of its first reader.

    ``runs_always``: whether that reader runs in any case, not depending on data.
    """

    working_directory: str
    file_name: str
    path: str
    certain: bool


class Context(NamedTuple):
    """A branch of a conditional or an iteration of a do-while loop (``owner``), inside another context."""

    parent: int
    owner: str
    choice: int
    branch: bool


class Products:
    """Collects makers and readers, in any order, and wires the graph at the end."""

    def __init__(self, graph: PlanGraph) -> None:
        self._graph = graph
        self._numbers: dict[str, dict[str, int]] = {}
        self._makers = array("i")
        self._other_makers: dict[int, list[int]] = {}
        self._readers = array("i")
        self._read = array("i")
        self._places: dict[int, tuple[str, str, int]] = {}
        self._contexts = array("i")
        self._known: list[Context] = [Context(-1, "", 0, False)]

    def context(self, parent: int, owner: str, choice: int, *, branch: bool) -> int:
        """Return the number of a new context inside ``parent``; 0 is the chain itself."""
        self._known.append(Context(parent, owner, choice, branch))
        return len(self._known) - 1

    def set_context(self, node: int, context: int) -> None:
        """Record that ``node`` runs in ``context``."""
        while len(self._contexts) <= node:
            self._contexts.append(0)
        self._contexts[node] = context

    def add_reader(self, node: int, directory: str, file_name: str, semantic: str) -> None:
        """Record that ``node`` reads a product."""
        number = self._number(directory, file_name)
        self._readers.append(node)
        self._read.append(number)
        if self._makers[number] < 0 and number not in self._places:
            self._places[number] = (self._graph.labels[node], semantic, node)

    def add_maker(self, node: int, directory: str, file_name: str) -> tuple[bool, int]:
        """Record that ``node`` makes a product.

        Returns whether it is a further product (not one of a do-while loop's earlier iteration),
        and another node that makes it in the same run, or -1.
        """
        number = self._number(directory, file_name)
        if self._makers[number] < 0:
            self._makers[number] = node
            return True, -1
        others = self._other_makers.setdefault(number, [])
        relations = [(maker, self._relation(maker, node)) for maker in (self._makers[number], *others)]
        others.append(node)
        twice = next((maker for maker, relation in relations if relation == "same"), -1)
        return not any(relation in ("same", "later") for _, relation in relations), twice

    def runs_always(self, context: int) -> bool:
        """Return whether tasks in ``context`` run in any case, not depending on data."""
        return not any(each.branch for each in self._chain(context))

    def certain_node(self, node: int) -> bool:
        """Return whether ``node`` runs in any case, not depending on data."""
        context = self._context_of(node)
        return context == 0 or self.runs_always(context)

    def add_edges(self) -> None:
        """Add an edge from each product's maker to each of its readers."""
        for maker, reader, _ in self._dependencies():
            self._graph.add_edge(maker, reader)

    def links(self) -> Iterator[tuple[str, str, str]]:
        """Yield, once for each product that is read, the labels of maker and reader, and its name."""
        names = [f"{directory}/{name}" for directory, files in self._numbers.items() for name in files]
        numbers = [number for files in self._numbers.values() for number in files.values()]
        known = dict(zip(numbers, names, strict=True))
        labels = self._graph.labels
        seen: set[tuple[str, str, int]] = set()
        for maker, reader, number in self._dependencies():
            link = labels[maker], labels[reader], number
            if link not in seen:
                seen.add(link)
                yield *link[:2], known[number]

    def _dependencies(self) -> Iterator[tuple[int, int, int]]:
        """Yield maker, reader and number of each product that is read."""
        for reader, number in zip(self._readers, self._read, strict=True):
            maker = self._makers[number]
            if number in self._other_makers:
                for each in self._nearest(reader, [maker, *self._other_makers[number]]):
                    yield each, reader, number
            elif maker >= 0:
                yield maker, reader, number

    def made(self, describe: Callable[[int], Maker]) -> dict[str, dict[str, Maker]]:
        """Return the makers by working directory and file name."""
        return {
            directory: {
                name: describe(self._makers[number]) for name, number in files.items() if self._makers[number] >= 0
            }
            for directory, files in self._numbers.items()
        }

    def external(self) -> Iterator[External]:
        """Yield the inputs that no task of this chain makes."""
        for directory, files in self._numbers.items():
            for file_name, number in files.items():
                if self._makers[number] < 0:
                    path, semantic, node = self._places[number]
                    certain = self.runs_always(self._context_of(node))
                    yield External(directory, file_name, f"{path}.inputs.{semantic}", certain)

    def _number(self, directory: str, file_name: str) -> int:
        files = self._numbers.setdefault(directory, {})
        number = files.get(file_name)
        if number is None:
            number = files[file_name] = len(self._makers)
            self._makers.append(-1)
        return number

    def _context_of(self, node: int) -> int:
        return self._contexts[node] if node < len(self._contexts) else 0

    def _chain(self, context: int) -> list[Context]:
        """Return the contexts around and including ``context``, outermost first."""
        found = []
        while context > 0:
            found.append(self._known[context])
            context = self._known[context].parent
        return found[::-1]

    def _relation(self, one: int, other: int) -> str:
        """Return whether two nodes run in the *same* run for certain, *later* iterations, or *perhaps*."""
        first, second = self._chain(self._context_of(one)), self._chain(self._context_of(other))
        common = _common(first, second)
        if common < min(len(first), len(second)) and first[common].owner == second[common].owner:
            return "perhaps" if first[common].branch else "later"
        return "perhaps" if any(each.branch for each in (*first[common:], *second[common:])) else "same"

    def _nearest(self, reader: int, makers: list[int]) -> list[int]:
        """Return those of ``makers`` that share the most contexts with ``reader``: of the same iteration, say."""
        around = self._chain(self._context_of(reader))
        shared = [_common(around, self._chain(self._context_of(maker))) for maker in makers]
        return [maker for maker, common in zip(makers, shared, strict=True) if common == max(shared)]


def _common(first: list[Context], second: list[Context]) -> int:
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count
