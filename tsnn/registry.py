"""Registries: pruning and regrowth rules, schedules, optimizers, activations, data readers.

A *rule* is a function with a name. Decorated, in a notebook cell or a file, it is a choice of its setting, so it
appears in the command line's help, the form, comparisons and the memory estimate by itself:

>>> @tsnn.regrowth("busy", help="at the input neurons with the most connections", candidates=5)  # doctest: +SKIP
... def busy(free, rows, columns):
...     return free.topology.out_degree[rows]
>>> run = tsnn.start(config.replace(regrow="busy"))  # doctest: +SKIP

The decorators of :mod:`tsnn.decorators` describe the arguments and results of each kind; built-in rules are registered
where they are defined, as in :mod:`tsnn.engine.pruning`. A run records the source of the others
(:mod:`tsnn.runs.rules`).

A data reader is registered by the suffix of the files that it reads: :func:`tsnn.load_dataset` then takes their paths.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tsnn.errors import ConfigError

Function = TypeVar("Function", bound=Callable[..., Any])

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


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
    needs : str
        Input that must be computed for it, one of the registry's ``needs``.
    candidates : int
        Random free positions for each new connection, of which a regrowth rule returns scores; 0 if it chooses
        positions itself.
    bytes_per_candidate : int
        Memory of each candidate.
    bytes_per_connection : int
        Memory of a pruning rule, or of a regrowth rule that chooses positions itself, for each connection of a layer
        (with ``needs="network"`` of all layers).
    state : tuple of str
        Arrays that an optimizer has, of a number for each connection.
    fused : bool
        Whether the backward pass applies an optimizer: its state are the velocities, and no array holds the gradient.
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
    bytes_per_candidate: int = 17  # row, column, score, a copy of the scores to select from, a mark
    bytes_per_connection: int = 0
    state: tuple[str, ...] = ()
    fused: bool = False
    is_table: bool = False
    streams: bool = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.function(*args, **kwargs)

    @property
    def is_own(self) -> bool:
        """Whether the rule is not built in."""
        return str(getattr(self.function, "__module__", "")).partition(".")[0] != "tsnn"

    @property
    def facts(self) -> dict[str, Any]:
        """The values that differ from the defaults, but name and function."""
        fields = [field for field in dataclasses.fields(self) if field.name not in ("name", "function")]
        return {f.name: v for f in fields if (v := getattr(self, f.name)) != f.default}


def _can_take(function: Callable[..., Any], names: tuple[str, ...]) -> bool:
    """Return whether a function can be called with as many arguments; true for one that does not tell."""
    try:
        inspect.signature(function).bind(*names)
    except TypeError:
        return False
    except ValueError:  # of some functions in C
        pass
    return True


class Registry(Mapping[str, Rule]):
    """Rules of one kind by name, in the order in which they were registered.

    Parameters
    ----------
    kind : str
        Name of the kind in messages.
    home : str, optional
        Module that registers the built-in rules. It is imported when the registry is first used, so that
        ``import tsnn`` stays light.
    decorator : str, optional
        Name of the public decorator, in ``tsnn``; empty if runs do not record rules of this kind.
    needs : tuple of str
        Inputs that a rule may need; see the decorator.
    """

    def __init__(self, kind: str, home: str = "", decorator: str = "", needs: tuple[str, ...] = ("",)):
        self.kind, self.home, self.decorator, self.needs = kind, home, decorator, needs
        self._registered: dict[str, Rule] = {}
        self._recorded: dict[str, Rule] = {}

    @property
    def _rules(self) -> dict[str, Rule]:
        if self.home:
            importlib.import_module(self.home)
        return self._registered

    def register(
        self, name: str, *, help: str = "", takes: tuple[str, ...] = (), **facts: Any
    ) -> Callable[[Function], Function]:
        """Register the function that is decorated; ``facts`` are further attributes of :class:`Rule`.

        The default of ``help`` is the first line of the function's docstring. ``takes`` names the arguments that it
        will get. A rule that is not built in is replaced: a cell of a notebook may be run again.

        Raises
        ------
        ConfigError
            If the name is that of a built-in rule, or no name, the need is unknown, or it takes other arguments.
        """
        if not isinstance(name, str) or (self.decorator and not _NAME.fullmatch(name)):
            example = f'@tsnn.{self.decorator}("my_rule")'
            raise ConfigError(f"A {self.kind} is named by at most 40 of a-z, 0-9 and _, as in {example}; got {name!r}.")
        if name in self._rules and not self._rules[name].is_own:
            raise ConfigError(f"There is a {self.kind} {name!r} already. Choose another name, or unregister it first.")
        if facts.get("needs", "") not in self.needs:
            raise ConfigError(f"A {self.kind} can need one of {self.needs}; got {facts['needs']!r}.")

        def add(function: Function) -> Function:
            if takes and not _can_take(function, takes):
                got = f"{inspect.signature(function)}; it is called as rule({', '.join(takes)})"
                raise ConfigError(f"The {self.kind} {name!r} takes {got}. Give it these arguments, in this order.")
            text = help or (inspect.getdoc(function) or "a rule of your own").splitlines()[0].rstrip(".")
            self._registered[name] = Rule(name, text, function, **facts)
            return function

        return add

    def note(self, rule: Rule) -> None:
        """Note a rule that a run records, but whose code this process need not know: its name is allowed."""
        self._recorded[rule.name] = rule

    def is_noted(self, name: object) -> bool:
        """Return whether a run that was read records a rule of this name."""
        return name in self._recorded

    def find(self, name: str) -> Rule:
        """Return a rule, or, of one that only a run knows, its facts."""
        return self._rules.get(name) or self._recorded[name]

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

    __hash__ = object.__hash__  # of the registry, not of its rules

    def __len__(self) -> int:
        return len(self._rules)


#: See :func:`tsnn.pruning` and :mod:`tsnn.engine.pruning`.
PRUNING = Registry("pruning rule", "tsnn.engine.pruning", "pruning", ("", "layer", "gradient", "network"))
#: See :func:`tsnn.regrowth` and :mod:`tsnn.engine.regrowth`.
REGROWTH = Registry("regrowth rule", "tsnn.engine.regrowth", "regrowth", ("", "gradient", "activations"))
#: See :func:`tsnn.schedule` and :mod:`tsnn.engine.schedules`.
SCHEDULES = Registry("schedule", "tsnn.engine.schedules", "schedule")
#: See :func:`tsnn.optimizer` and :mod:`tsnn.engine.optimizers`.
OPTIMIZERS = Registry("optimizer", "tsnn.engine.optimizers", "optimizer")
#: See :func:`tsnn.activation` and :mod:`tsnn.engine.activations`.
ACTIVATIONS = Registry("activation", "tsnn.engine.activations", "activation")
#: ``reader(path, target) -> RawData``, by file name suffix. See :mod:`tsnn.datasets.readers`.
READERS = Registry("data reader", "tsnn.datasets.readers")


def recorded_registries() -> dict[str, Registry]:
    """Return the registries whose rules runs record, by their decorator."""
    return {r.decorator: r for r in globals().values() if isinstance(r, Registry) and r.decorator}
