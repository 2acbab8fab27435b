"""Registries: pruning and regrowth rules, schedules, activations and data readers, which users may extend.

A *rule* is a function with a name, a line of help, and its needs. Registered, it is a choice of its setting, so it
appears in the command line's help, the form, comparisons and the memory estimate by itself:

>>> from tsnn.registry import REGROWTH
>>> @REGROWTH.register("first", help="the first free positions that are drawn")  # doctest: +SKIP
... def first(free, count, rng):
...     return free.draw(count, rng)

A data reader is registered by the suffix of the files that it reads: :func:`tsnn.load_dataset` then takes their paths.
The built-in rules are registered in the same way, where they are defined (:mod:`tsnn.engine.pruning`,
:mod:`tsnn.engine.regrowth`, :mod:`tsnn.engine.schedules`, :mod:`tsnn.engine.activations`,
:mod:`tsnn.datasets.readers`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tsnn.errors import ConfigError

Function = TypeVar("Function", bound=Callable[..., Any])

#: Inputs that a rule may need in addition to the topology; see the modules where rules are defined.
NEEDS = ("", "gradient")


@dataclass(frozen=True)
class Rule:
    """A registered function.

    Attributes
    ----------
    name : str
        Value of its setting; of a data reader, the suffix.
    help : str
        Description, as the end of a sentence that begins with its name.
    function : callable
        See the registry for its arguments.
    label : str
        Its name on a page, where that differs.
    needs : {"", "gradient"}
        Input that must be computed for it.
    candidates : int
        Positions that a regrowth rule tries for each new connection; 0 if none are kept in memory.
    bytes_per_candidate : int
        Memory of each candidate.
    is_table : bool
        Whether a data reader takes a third argument, :class:`tsnn.datasets.raw.TableOptions`.
    streams : bool
        Whether a data reader takes a third argument, the bytes of memory beyond which features stay on the disk.
    """

    name: str
    help: str
    function: Callable[..., Any]
    label: str = ""
    needs: str = ""
    candidates: int = 0
    bytes_per_candidate: int = 0
    is_table: bool = False
    streams: bool = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.function(*args, **kwargs)


class Registry(Mapping[str, Rule]):
    """Rules of one kind by name, in the order in which they were registered.

    Parameters
    ----------
    kind : str
        Name of the kind in messages.
    home : str, optional
        Module that registers the built-in rules. It is imported when the registry is first used, so that
        ``import tsnn`` stays light.
    """

    def __init__(self, kind: str, home: str = ""):
        self.kind, self.home = kind, home
        self._registered: dict[str, Rule] = {}

    @property
    def _rules(self) -> dict[str, Rule]:
        if self.home:
            importlib.import_module(self.home)
        return self._registered

    def register(self, name: str, *, help: str, **facts: Any) -> Callable[[Function], Function]:
        """Register the function that is decorated; ``facts`` are further attributes of :class:`Rule`.

        Raises
        ------
        ConfigError
            If the name is taken, or the need is unknown.
        """
        if name in self._rules:
            raise ConfigError(f"There is a {self.kind} {name!r} already. Choose another name, or unregister it first.")
        if facts.get("needs", "") not in NEEDS:
            raise ConfigError(f"A {self.kind} can need one of {NEEDS}; got {facts['needs']!r}.")

        def add(function: Function) -> Function:
            self._registered[name] = Rule(name, help, function, **facts)
            return function

        return add

    def unregister(self, name: str) -> None:
        """Remove a rule.

        Raises
        ------
        ConfigError
            If there is no such rule.
        """
        if name not in self._rules:
            raise ConfigError(f"There is no {self.kind} {name!r}; known are {', '.join(map(repr, self))}.")
        del self._registered[name]

    def __getitem__(self, name: str) -> Rule:
        return self._rules[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rules)

    def __len__(self) -> int:
        return len(self._rules)


#: ``rule(weights, zeta) -> survives``: float32[m], fraction in [0, 1) -> bool[m]. See :mod:`tsnn.engine.pruning`.
PRUNING = Registry("pruning rule", "tsnn.engine.pruning")
#: ``rule(free, count, rng) -> (indptr, indices)``. See :mod:`tsnn.engine.regrowth`.
REGROWTH = Registry("regrowth rule", "tsnn.engine.regrowth")
#: ``schedule(progress) -> factor``: fraction of the epochs -> factor of a setting. See :mod:`tsnn.engine.schedules`.
SCHEDULES = Registry("schedule", "tsnn.engine.schedules")
#: ``activation(alpha, layer) -> slope``. See :mod:`tsnn.engine.activations`.
ACTIVATIONS = Registry("activation", "tsnn.engine.activations")
#: ``reader(path, target) -> RawData``, by file name suffix. See :mod:`tsnn.datasets.readers`.
READERS = Registry("data reader", "tsnn.datasets.readers")
