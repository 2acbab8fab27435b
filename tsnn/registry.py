"""Registries: pruning and regrowth rules, schedules, optimizers, activations, data readers.

A *rule* is a function with a name. Decorated, in a notebook cell or a file, it is a choice of its setting, so it
appears in the command line's help, the form, comparisons and the memory estimate by itself:

>>> @tsnn.regrowth("busy", help="at the input neurons with the most connections", candidates=5)  # doctest: +SKIP
... def busy(free, rows, columns):
...     return free.topology.out_degree[rows]
>>> run = tsnn.start(config.replace(regrow="busy"))  # doctest: +SKIP

The decorators :func:`pruning`, :func:`regrowth`, :func:`schedule`, :func:`optimizer` and :func:`activation` describe
the arguments and results of each kind. A run records the source of the rules that are not built in
(:mod:`tsnn.runs.rules`).

A data reader is registered by the suffix of the files that it reads: :func:`tsnn.load_dataset` then takes their paths.
The built-in rules are registered where they are defined (:mod:`tsnn.engine.pruning`, :mod:`tsnn.engine.regrowth`,
:mod:`tsnn.engine.schedules`, :mod:`tsnn.engine.optimizers`, :mod:`tsnn.engine.activations`,
:mod:`tsnn.datasets.readers`).
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

    def register(self, name: str, *, help: str = "", **facts: Any) -> Callable[[Function], Function]:
        """Register the function that is decorated; ``facts`` are further attributes of :class:`Rule`.

        The default of ``help`` is the first line of the function's docstring. A rule that is not built in is replaced:
        a cell of a notebook may be run again.

        Raises
        ------
        ConfigError
            If the name is that of a built-in rule, or no name, or the need is unknown.
        """
        if not isinstance(name, str) or (self.decorator and not _NAME.fullmatch(name)):
            example = f'@tsnn.{self.decorator}("my_rule")'
            raise ConfigError(f"A {self.kind} is named by at most 40 of a-z, 0-9 and _, as in {example}; got {name!r}.")
        if name in self._rules and not self._rules[name].is_own:
            raise ConfigError(f"There is a {self.kind} {name!r} already. Choose another name, or unregister it first.")
        if facts.get("needs", "") not in self.needs:
            raise ConfigError(f"A {self.kind} can need one of {self.needs}; got {facts['needs']!r}.")

        def add(function: Function) -> Function:
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


#: See :func:`pruning` and :mod:`tsnn.engine.pruning`.
PRUNING = Registry("pruning rule", "tsnn.engine.pruning", "pruning", ("", "layer", "gradient", "network"))
#: See :func:`regrowth` and :mod:`tsnn.engine.regrowth`.
REGROWTH = Registry("regrowth rule", "tsnn.engine.regrowth", "regrowth", ("", "gradient", "activations"))
#: See :func:`schedule` and :mod:`tsnn.engine.schedules`.
SCHEDULES = Registry("schedule", "tsnn.engine.schedules", "schedule")
#: See :func:`optimizer` and :mod:`tsnn.engine.optimizers`.
OPTIMIZERS = Registry("optimizer", "tsnn.engine.optimizers", "optimizer")
#: See :func:`activation` and :mod:`tsnn.engine.activations`.
ACTIVATIONS = Registry("activation", "tsnn.engine.activations", "activation")
#: ``reader(path, target) -> RawData``, by file name suffix. See :mod:`tsnn.datasets.readers`.
READERS = Registry("data reader", "tsnn.datasets.readers")


def recorded_registries() -> dict[str, Registry]:
    """Return the registries whose rules runs record, by their decorator."""
    return {r.decorator: r for r in globals().values() if isinstance(r, Registry) and r.decorator}


def pruning(name: str, *, help: str = "", needs: str = "", **facts: Any) -> Callable[[Function], Function]:
    """Register a pruning rule, a choice of ``training.prune``: which connections of a layer evolution prunes.

    The rule is ``rule(weights, zeta)``: float32[m], fraction in [0, 1). It returns bool[m], the connections that
    survive, or float[m], a score: then the fraction zeta with the smallest scores is pruned.

    Parameters
    ----------
    name : str
        Its name: a-z, 0-9 and _.
    help : str, optional
        Description; default is the first line of its docstring.
    needs : {"", "layer", "gradient", "network"}
        With ``"layer"`` the rule gets a :class:`tsnn.engine.pruning.Connections` instead of the weights: weights,
        topology, progress, rng; with ``"gradient"`` also the gradient of a batch. With ``"network"`` it gets a list of
        them, one for each layer that evolves, and returns a list of scores: the fraction zeta of all connections with
        the smallest scores is pruned, and the new ones are divided among the layers in proportion to the survivors.
    **facts
        Further attributes of :class:`Rule`.

    Examples
    --------
    >>> @tsnn.pruning("small_steps", needs="gradient")  # doctest: +SKIP
    ... def small_steps(layer, zeta):
    ...     return abs(layer.weights) + 0.1 * abs(layer.gradient)
    """
    return PRUNING.register(name, help=help, needs=needs, **facts)


def regrowth(
    name: str, *, help: str = "", needs: str = "", candidates: int = 0, **facts: Any
) -> Callable[[Function], Function]:
    """Register a regrowth rule, a choice of ``training.regrow``: where evolution puts new connections of a layer.

    With ``candidates`` the rule is a score ``rule(free, rows, columns)`` of random free positions: int32[k] input
    neurons, int32[k] output neurons. It returns float[k]; connections grow where it is largest.
    Without, the rule is ``rule(free, count, rng)`` and returns ``count`` distinct free positions itself, as
    ``free.pattern(rows, columns)`` does. ``free`` is a :class:`tsnn.engine.regrowth.FreePositions`.

    Parameters
    ----------
    name : str
        Its name: a-z, 0-9 and _.
    help : str, optional
        Description; default is the first line of its docstring.
    needs : {"", "gradient", "activations"}
        What ``free`` has in addition to the topology: the gradient of a batch at any positions, or the activations and
        deltas of its samples.
    candidates : int
        Random free positions for each new connection, of which the rule returns scores.
    **facts
        Further attributes of :class:`Rule`.

    Examples
    --------
    >>> @tsnn.regrowth("cosine", needs="activations", candidates=10)  # doctest: +SKIP
    ... def cosine(free, rows, columns):
    ...     a, b = (x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-9) for x in free.activations)
    ...     return abs(np.einsum("ks,ks->k", a[rows], b[columns]))
    """
    if not isinstance(candidates, int) or not 0 <= candidates <= 1000:
        raise ConfigError(f"candidates must be a whole number from 0 to 1000, got {candidates!r}.")
    return REGROWTH.register(name, help=help, needs=needs, candidates=candidates, **facts)


def schedule(name: str, *, help: str = "", **facts: Any) -> Callable[[Function], Function]:
    """Register a schedule, a choice of ``training.zeta_schedule`` and the other schedules.

    It is ``schedule(progress) -> factor``: the finished fraction of the epochs, in [0, 1], -> the factor of a setting,
    in [0, 1].

    Examples
    --------
    >>> @tsnn.schedule("half")  # doctest: +SKIP
    ... def half(progress):
    ...     return 1.0 if progress < 0.5 else 0.5
    """
    return SCHEDULES.register(name, help=help, **facts)


def optimizer(
    name: str, *, help: str = "", state: tuple[str, ...] = (), **facts: Any
) -> Callable[[Function], Function]:
    """Register an optimizer, a choice of ``training.optimizer``: how a gradient changes the weights.

    It is ``step(weights, gradient, *state, rates) -> (weights, *state)``: float32[n], one value for each connection of
    a layer, or for each of its biases. ``rates`` has ``learning_rate``, ``momentum``, ``weight_decay``.

    Parameters
    ----------
    name, help : str
        Its name: a-z, 0-9 and _; its description: by default the first line of its docstring.
    state : tuple of str
        Names of further arrays, which training keeps: 0 at the start and for each new connection.
    **facts
        Further attributes of :class:`Rule`.

    Examples
    --------
    >>> @tsnn.optimizer("adagrad", state=("sums",))  # doctest: +SKIP
    ... def adagrad(weights, gradient, sums, rates):
    ...     sums = sums + gradient**2
    ...     return weights - rates.learning_rate * gradient / (np.sqrt(sums) + 1e-8), sums
    """
    if not isinstance(state, tuple) or not all(isinstance(part, str) and part.isidentifier() for part in state):
        raise ConfigError(f"state must be a tuple of names such as ('m', 'v'), got {state!r}.")
    return OPTIMIZERS.register(name, help=help, state=state, **facts)


def activation(name: str, *, help: str = "", **facts: Any) -> Callable[[Function], Function]:
    """Register an activation, a choice of ``network.activation``: see :mod:`tsnn.engine.activations`."""
    return ACTIVATIONS.register(name, help=help, **facts)
