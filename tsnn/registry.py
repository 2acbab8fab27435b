"""Registries: what a person may extend tsnn with. Nothing else has one.

A *rule* is a function with a name, a sentence of help, and what it needs. Registered, it is a choice of its setting, so
it appears in the command line's help, the form, comparisons and the memory estimate by itself:

>>> from tsnn.registry import REGROWTH
>>> @REGROWTH.register("first", help="the first free positions that are drawn")  # doctest: +SKIP
... def first(free, count, rng):
...     return free.draw(count, rng)

The built-in rules are registered in the same way, where they are defined (:mod:`tsnn.engine.pruning`,
:mod:`tsnn.engine.regrowth`, :mod:`tsnn.engine.activations`, :mod:`tsnn.datasets.readers`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tsnn.errors import ConfigError

Function = TypeVar("Function", bound=Callable[..., Any])

#: What a rule may ask for beside the topology; see the modules where rules are defined.
NEEDS = ("", "gradient")


@dataclass(frozen=True)
class Rule:
    """A registered function.

    Attributes
    ----------
    name : str
        What its setting is set to.
    help : str
        What it does, as the end of a sentence that begins with its name.
    function : callable
        See the registry for its arguments.
    label : str
        Its name on a page, where that differs.
    needs : {"", "gradient"}
        What must be computed for it.
    candidates : int
        Positions that a regrowth rule tries for each new connection; 0 if none are kept in memory.
    bytes_per_candidate : int
        Memory that each of them takes.
    """

    name: str
    help: str
    function: Callable[..., Any]
    label: str = ""
    needs: str = ""
    candidates: int = 0
    bytes_per_candidate: int = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.function(*args, **kwargs)


class Registry(Mapping[str, Rule]):
    """Rules of one kind by name, in the order in which they were registered.

    Parameters
    ----------
    kind : str
        What its rules are called in messages.
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._rules: dict[str, Rule] = {}

    def register(self, name: str, *, help: str, **facts: Any) -> Callable[[Function], Function]:
        """Register the function that is decorated; ``facts`` are further attributes of :class:`Rule`.

        Raises
        ------
        ConfigError
            If the name is taken, or the rule needs something unknown.
        """
        if name in self._rules:
            raise ConfigError(f"There is a {self.kind} {name!r} already. Choose another name, or unregister it first.")
        if facts.get("needs", "") not in NEEDS:
            raise ConfigError(f"A {self.kind} can need one of {NEEDS}, got {facts['needs']!r}.")

        def add(function: Function) -> Function:
            self._rules[name] = Rule(name, help, function, **facts)
            return function

        return add

    def unregister(self, name: str) -> None:
        """Remove a rule."""
        del self._rules[name]

    def __getitem__(self, name: str) -> Rule:
        return self._rules[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rules)

    def __len__(self) -> int:
        return len(self._rules)


#: ``rule(weights, zeta) -> survives``: float32[m], share in [0, 1) -> bool[m]. See :mod:`tsnn.engine.pruning`.
PRUNING = Registry("pruning rule")
#: ``rule(free, count, rng) -> (indptr, indices)``. See :mod:`tsnn.engine.regrowth`.
REGROWTH = Registry("regrowth rule")
#: ``activation(alpha, layer) -> slope``. See :mod:`tsnn.engine.activations`.
ACTIVATIONS = Registry("activation")
#: ``reader(path, target) -> RawData``, by file name suffix. See :mod:`tsnn.datasets.readers`.
READERS = Registry("data reader")
