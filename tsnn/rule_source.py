"""Source of a rule as a file of its own: the function, and the imports, helpers and constants that it uses.

A run records this text, so its processes, and those that resume it, run the same rule without the notebook or file in
which it was defined.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import dis
import functools
import importlib.metadata
import inspect
import json
import math
import sys
import sysconfig
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tsnn.errors import RuleError
from tsnn.registry import Registry, Rule

_OF_MODULES = ("__name__", "__annotations__", "__doc__", "__module__", "__qualname__")  # used by classes
MAX_ITEMS = 10_000  #: elements of a constant array
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))


def rule_source(registry: Registry, rule: Rule) -> str:
    """Return the text of a Python file that registers a rule again.

    Raises
    ------
    RuleError
        If the source of the rule, or of something that it uses, cannot be recorded; the message names it.
    """
    found = _Collection(f"The {registry.kind} {rule.name!r}")
    found.add_definition(rule.function)
    facts = "".join(f", {name}={_text(value)}" for name, value in rule.facts.items())
    decorator = f"@tsnn.{registry.decorator}({_text(rule.name)}{facts})"
    imports = sorted({"import tsnn", *found.imports}, key=lambda line: (line.startswith("from"), line))
    title = f'"""{registry.kind.capitalize()} {rule.name}, as recorded by a run."""'
    constants = "\n".join(found.constants)
    parts = [
        title,
        "from __future__ import annotations",
        "\n".join(imports),
        constants,
        *found.definitions[:-1],
        f"{decorator}\n{found.definitions[-1]}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


class _Collection:
    """The parts of a rule's file.

    Attributes
    ----------
    subject : str
        The rule, for messages.
    imports, constants, definitions : list of str
        Statements; a definition comes after those that it uses when it is executed.
    """

    def __init__(self, subject: str):
        self.subject = subject
        self.imports: list[str] = []
        self.constants: list[str] = []
        self.definitions: list[str] = []
        self._objects: dict[str, Any] = {}  # what each global name stands for

    def add_definition(self, given: Any) -> str:
        """Add a function or class with everything that it uses; returns its name."""
        value = inspect.unwrap(given) if callable(given) else given
        source, name = self._definition(value), str(value.__name__)
        self._objects[name] = given
        for used in _names_used(source, self._file(value)):
            if used != name and used not in _OF_MODULES:
                self._add_global(used, self._namespace(value), name)
        self.definitions.append(source)
        return name

    def _definition(self, value: Any) -> str:
        """Return the source of a function or class without the decorators that register it."""
        what = getattr(value, "__qualname__", repr(value))
        if not isinstance(value, types.FunctionType | type) or value.__name__ == "<lambda>":
            kind = "lambda" if getattr(value, "__name__", "") == "<lambda>" else type(value).__name__
            raise RuleError(f"{self.subject} cannot be recorded: {what} is a {kind}. Write it as a function, with def.")
        if isinstance(value, types.FunctionType) and (free := set(value.__code__.co_freevars)):
            names = ", ".join(sorted(free))
            raise RuleError(
                f"{self.subject} cannot be recorded: {what} uses {names} of the function around it. Define {names} "
                "at the top level of the cell or file, or within the function."
            )
        try:
            source = textwrap.dedent(_source(value))
            tree = ast.parse(source)
        except (OSError, TypeError, SyntaxError) as error:
            raise RuleError(
                f"{self.subject} cannot be recorded: the source of {what} is not available ({error}). Define it in a "
                "file or a notebook cell."
            ) from error
        source = _without_registration(source, tree.body[0], self._namespace(value))
        if isinstance(value, types.FunctionType) and not _is_source_of(source, value):
            raise RuleError(
                f"{self.subject} cannot be recorded: the file of {what}, {self._file(value)}, has changed since it was "
                "imported. Import it again."
            )
        return source

    def _namespace(self, value: Any) -> dict[str, Any]:
        if isinstance(value, types.FunctionType):
            return value.__globals__
        return vars(sys.modules[value.__module__])

    def _file(self, value: Any) -> str:
        return value.__code__.co_filename if isinstance(value, types.FunctionType) else value.__module__

    def _add_global(self, name: str, namespace: dict[str, Any], user: str) -> None:
        """Add the value of a global name that `user` uses."""
        if name not in namespace:
            if hasattr(builtins, name):
                return
            raise RuleError(f"{self.subject} cannot be recorded: {user} uses {name}, which is not defined.")
        value = namespace[name]
        if name in self._objects:
            if self._objects[name] is not value:
                raise RuleError(
                    f"{self.subject} cannot be recorded: it uses two different things named {name}. Rename one of them."
                )
            return
        self._objects[name] = value
        if isinstance(value, types.ModuleType):
            self._add_module(name, value, user)
        elif statement := _import_of(name, value):
            self.imports.append(statement)
        elif callable(value) and not isinstance(value, np.generic):
            defined = self.add_definition(value)
            if defined != name:
                self.definitions.append(f"{name} = {defined}")
        else:
            self.constants.append(f"{name} = {self._constant(name, value, user)}")
            if "numpy." in self.constants[-1]:
                self.imports.append("import numpy")

    def _add_module(self, name: str, module: types.ModuleType, user: str) -> None:
        if not is_installed(module.__name__):
            raise RuleError(
                f"{self.subject} cannot be recorded: {user} uses the module {module.__name__}, which is not installed. "
                f"Import the functions from it that are used: from {module.__name__} import ..."
            )
        top = module.__name__ == name
        self.imports.append(f"import {name}" if top else f"import {module.__name__} as {name}")

    def _constant(self, name: str, value: Any, user: str) -> str:
        """Return an expression whose value is that of a constant."""
        try:
            return _expression(value)
        except TypeError as error:
            raise RuleError(
                f"{self.subject} cannot be recorded: {user} uses {name}, {error}. It can use numbers, texts, small "
                "arrays, lists and the like of them, functions, classes and installed modules."
            ) from None


def _expression(value: Any) -> str:
    """Return an expression with a plain value; a TypeError names the type of one that is not plain."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufU":
        if value.size > MAX_ITEMS:
            raise TypeError(f"an array of {value.size} elements, more than {MAX_ITEMS}")
        return f'numpy.array({_expression(value.ravel().tolist())}, "{value.dtype.str}").reshape({value.shape})'
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return f"numpy.{value.dtype.name}({_expression(value.item())})"
    if type(value) is float and not math.isfinite(value):
        return f'float("{value}")'
    if type(value) in _PLAIN:
        return repr(value)
    if type(value) is dict:
        return "{" + ", ".join(f"{_expression(k)}: {_expression(v)}" for k, v in value.items()) + "}"
    brackets: dict[type, str] = {list: "[{}]", tuple: "({},)", set: "{{{}}}", frozenset: "frozenset([{}])"}
    if type(value) in brackets:
        items = [*map(_expression, sorted(value, key=repr) if isinstance(value, set | frozenset) else value)]
        if not items:
            return f"{type(value).__name__}()"
        return brackets[type(value)].format(", ".join(items))
    kind = type(value).__name__
    raise TypeError(f"{'an' if kind[:1] in 'AEIOU' else 'a'} {kind}")


def _import_of(name: str, value: Any) -> str:
    """Return the statement that imports a value of an installed module; empty if it is of none."""
    for module, attribute in (
        (getattr(value, "__module__", None), getattr(value, "__qualname__", None)),
        ("numpy", getattr(value, "__name__", None)),
    ):
        if not isinstance(module, str) or not isinstance(attribute, str) or not is_installed(module):
            continue
        if getattr(sys.modules.get(module), attribute, None) is value:
            return f"from {module} import {attribute}" + ("" if attribute == name else f" as {name}")
    return ""


@functools.cache
def is_installed(module: str) -> bool:
    """Return whether other processes can import a module: one of Python, tsnn or an installed package."""
    top = module.partition(".")[0]
    if top in ("tsnn", "builtins") or top in sys.stdlib_module_names - {"__main__"}:
        return top != "__main__"
    file = getattr(sys.modules.get(top), "__file__", None) or ""
    folders = [Path(path) for path in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")} if path]
    if any(folder in Path(file).parents for folder in folders):
        return True
    return top in importlib.metadata.packages_distributions()


def _source(value: Any) -> str:
    """Return the source of a function or class, also of a class in a notebook, which has no file."""
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        methods = (
            [v for v in vars(value).values() if isinstance(v, types.FunctionType)] if isinstance(value, type) else []
        )
        for method in methods:
            lines, _ = inspect.findsource(method)
            for node in ast.walk(ast.parse("".join(lines))):
                if isinstance(node, ast.ClassDef) and node.name == value.__name__:
                    start = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                    return "".join(lines[start - 1 : node.end_lineno])
        raise


def _without_registration(source: str, node: ast.stmt, namespace: dict[str, Any]) -> str:
    """Return the source of a definition without the decorators that register a rule."""
    lines = source.splitlines()
    for decorator in reversed(getattr(node, "decorator_list", [])):
        if isinstance(decorator, ast.Call) and _registers(decorator.func, namespace):
            assert decorator.end_lineno is not None
            del lines[decorator.lineno - 1 : decorator.end_lineno]
    return "\n".join(lines).rstrip()


def _registers(expression: ast.expr, namespace: dict[str, Any]) -> bool:
    """Return whether a decorator's name is that of a registry's: ``tsnn.pruning``, ``PRUNING.register``."""
    names: list[str] = []
    while isinstance(expression, ast.Attribute):
        names.insert(0, expression.attr)
        expression = expression.value
    if not isinstance(expression, ast.Name):
        return False
    value = namespace.get(expression.id)
    for name in names:
        value = getattr(value, name, None)
    bound = isinstance(getattr(value, "__self__", None), Registry)
    return bound or getattr(value, "__module__", None) == "tsnn.decorators"


def _is_source_of(source: str, function: types.FunctionType) -> bool:
    """Return whether a source gives the code of a function: its file may have changed."""
    flags = function.__code__.co_flags & __future__.annotations.compiler_flag
    module = compile(source, "<rule>", "exec", flags=flags, dont_inherit=True)
    return any(_equal_code(code, function.__code__) for code in module.co_consts if isinstance(code, types.CodeType))


def _equal_code(a: types.CodeType, b: types.CodeType) -> bool:
    if a.co_varnames != b.co_varnames or len(a.co_consts) != len(b.co_consts) or [*_operations(a)] != [*_operations(b)]:
        return False
    pairs = zip(a.co_consts, b.co_consts, strict=True)
    return all(
        _equal_code(x, y) if isinstance(x, types.CodeType) and isinstance(y, types.CodeType) else repr(x) == repr(y)
        for x, y in pairs
    )


def _operations(code: types.CodeType) -> Iterator[tuple[str, Any]]:
    """Yield the operations of a code, without the way attributes are called: it depends on imports in the file."""
    for i in dis.get_instructions(code):
        if i.opname not in ("PUSH_NULL", "PRECALL", "EXTENDED_ARG"):
            yield i.opname.replace("LOAD_METHOD", "LOAD_ATTR"), i.argval if isinstance(i.argval, str) else None


def _names_used(source: str, file: str) -> list[str]:
    """Return the global names that a definition reads, when it is executed or called; refuses those that it sets."""
    module = compile(source, file, "exec", flags=__future__.annotations.compiler_flag, dont_inherit=True)
    return list(dict.fromkeys(_globals_of(module, source)))


def _globals_of(code: types.CodeType, source: str) -> Iterator[str]:
    stored = {i.argval for i in dis.get_instructions(code) if i.opname == "STORE_NAME"}
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            raise RuleError(
                f"A rule cannot be recorded that changes the global {instruction.argval}: it must depend on its "
                f"arguments only, or a resumed run would differ. In: {source.splitlines()[0]}"
            )
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME") and instruction.argval not in stored:
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals_of(constant, source)
