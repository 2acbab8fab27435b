"""Rules that are not built in, in a run directory: their source, and its hash.

``rules.json`` describes each rule that the settings name: its kind, name and facts, and the SHA-256 of its source in
the folder ``rules``, a file such as ``regrowth-cosine.py``. Readers of a run use the description only: source is
executed by nothing but the processes that train the run (:mod:`tsnn.execution.rules`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsnn.config import Config, describe, setting_names
from tsnn.errors import RuleError, RunError
from tsnn.files import load_json, read_bounded, write_atomic
from tsnn.registry import Registry, Rule, recorded_registries
from tsnn.rule_source import rule_source

SHORT = 8  #: characters of a hash, where it is shown
_HASH, _NAME = re.compile(r"[0-9a-f]{64}"), re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class RecordedRule:
    """A rule of a run.

    Attributes
    ----------
    kind : str
        Name of the decorator: "pruning", "regrowth", ...
    rule : Rule
        Its name and facts; its function only raises an error.
    sha256 : str
        Hash of its source.
    """

    kind: str
    rule: Rule
    sha256: str

    @property
    def file(self) -> str:
        """Name of its source, in the run directory."""
        return f"rules/{self.kind}-{self.rule.name}.py"

    @property
    def short(self) -> str:
        """Name and short hash, for people."""
        return f"{self.rule.name} ({self.sha256[:SHORT]})"


def own_rules(config: Config) -> Iterator[tuple[Registry, str]]:
    """Yield the registry and the name of each rule in the settings that is not built in."""
    flat = config.flat()
    for setting in setting_names():
        registry, name = describe(setting).choices, flat.get(setting)
        if not isinstance(registry, Registry) or not registry.decorator or name is None:
            continue
        if name not in registry or registry[name].is_own:
            yield registry, name


def record_rules(path: Path, config: Config, again: Iterable[str] = ()) -> None:
    """Write the source of the rules that the settings name into a run directory.

    Rules that it has already (those of a fork's parent) are kept, but for names in `again` that this process knows.

    Raises
    ------
    RuleError
        If this process does not know a rule, or its source cannot be recorded.
    """
    found = {(recorded.kind, recorded.rule.name): recorded for recorded in recorded_rules(path)}
    wanted = dict.fromkeys(own_rules(config))
    for registry, name in wanted:
        if (registry.decorator, name) in found and (name not in again or name not in registry):
            continue
        if name not in registry:
            raise RuleError(
                f"The {registry.kind} {name!r} is known by name only: a run records it, but it is not defined here. "
                "Define it where the run is started, or give its file: tsnn train --rules FILE. The recorded run can "
                "be resumed and forked."
            )
        source = rule_source(registry, registry[name]).encode()
        recorded = RecordedRule(registry.decorator, registry[name], _hash(source))
        (path / "rules").mkdir(exist_ok=True)
        write_atomic(path / recorded.file, source)
        found[registry.decorator, name] = recorded
    if wanted:
        content = {"rules": [_description(recorded) for recorded in found.values()]}
        write_atomic(path / "rules.json", json.dumps(content, indent=1).encode())


def _hash(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()


def _description(recorded: RecordedRule) -> dict[str, Any]:
    facts = {"help": recorded.rule.help, **recorded.rule.facts}
    return {"kind": recorded.kind, "name": recorded.rule.name, "sha256": recorded.sha256, **facts}


def recorded_rules(path: Path) -> list[RecordedRule]:
    """Return the rules that a run directory records; nothing is executed.

    Raises
    ------
    RunError
        If the description is damaged.
    """
    try:
        content = load_json(path / "rules.json")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise RunError(f"rules.json of run {path.name} cannot be read: {error}.") from error
    rules = content.get("rules")
    recorded = [_recorded(values) for values in rules] if isinstance(rules, list) and len(rules) < 100 else [None]
    if None in recorded:
        raise RunError(f"rules.json of run {path.name} is damaged. Restore it from a copy.")
    return [r for r in recorded if r is not None]


def _recorded(values: Any) -> RecordedRule | None:
    """Return a rule of ``rules.json``; None if its description is damaged."""
    if not isinstance(values, Mapping):
        return None
    kind, name, sha256 = (str(values.get(key)) for key in ("kind", "name", "sha256"))
    if kind not in recorded_registries() or not _NAME.fullmatch(name) or not _HASH.fullmatch(sha256):
        return None
    types = {field.name: field.type for field in dataclasses.fields(Rule) if field.name not in ("name", "function")}
    facts: dict[str, Any] = {
        key: tuple(v) if isinstance(v := values[key], list) else v for key in types if key in values
    }
    if any(type(value).__name__ != str(types[key]).partition("[")[0] for key, value in facts.items()):
        return None
    if not all(isinstance(name, str) and name.isidentifier() for name in facts.get("state", ())):
        return None
    if any(isinstance(value, int) and not 0 <= value < 2**31 for value in facts.values()):
        return None
    return RecordedRule(kind, Rule(name, facts.pop("help", ""), _unknown, **facts), sha256)


def _unknown(*_: Any) -> Any:
    raise RuleError("This rule is known by name only: a run records it, but its source has not been executed here.")


def note_rules(path: Path) -> None:
    """Allow the names of a run's rules as settings in this process, which need not know their code."""
    for recorded in recorded_rules(path):
        recorded_registries()[recorded.kind].note(recorded.rule)


def checked_source(path: Path, recorded: RecordedRule) -> bytes:
    """Return the source of a recorded rule.

    Raises
    ------
    RunError
        If it is missing, or has changed since the run was started.
    """
    name = f"The {recorded.kind} rule {recorded.rule.name!r} of run {path.name}"
    try:
        source = read_bounded(path / recorded.file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RunError(f"{name} cannot be read: {recorded.file}: {reason}. Restore it from a copy.") from error
    found = _hash(source)
    if found != recorded.sha256:
        raise RunError(
            f"{name} has changed since the run was started: {recorded.file} has the hash {found[:SHORT]}, expected "
            f"{recorded.sha256[:SHORT]}. Restore it, or start a new run: tsnn train ... --rules {path / recorded.file}"
        )
    return source


def with_hashes(settings: Mapping[str, Any], recorded: Iterable[RecordedRule]) -> dict[str, Any]:
    """Return settings by full name; those that name a rule which is not built in with the rule's short hash."""
    short = {(r.kind, r.rule.name): r.short for r in recorded}
    if not short:
        return dict(settings)
    own = {name for name, value in settings.items() if isinstance(value, str) and (_kind(name), value) in short}
    return {name: short[_kind(name), value] if name in own else value for name, value in settings.items()}


def hashed_settings(config: Config) -> dict[str, Any]:
    """Return the settings of a run that would be started in this process, with the hashes of its rules.

    Raises
    ------
    RuleError
        If the source of a rule cannot be recorded.
    """
    own = [(registry, registry[name]) for registry, name in own_rules(config) if name in registry]
    recorded = [RecordedRule(r.decorator, rule, _hash(rule_source(r, rule).encode())) for r, rule in own]
    return with_hashes(config.flat(), recorded)


def _kind(setting: str) -> str:
    choices = describe(setting).choices
    return choices.decorator if isinstance(choices, Registry) else ""


def check_rules(path: Path, meta: Mapping[str, Any]) -> None:
    """Refuse a run whose rules are missing, or have changed since it was started; nothing is executed.

    Raises
    ------
    RunError
        Names the rule and its file.
    """
    recorded = {(r.kind, r.rule.name): r for r in recorded_rules(path)}
    for one in recorded.values():
        checked_source(path, one)
    begun = meta.get("rules")
    for values in begun if isinstance(begun, list) else ():
        kind, name = values.get("kind"), values.get("name")
        found = recorded[kind, name].sha256 if (kind, name) in recorded else ""
        if found != values.get("sha256"):
            fault = "another one" if found else "missing"
            raise RunError(
                f"The {kind} rule {name!r} of run {path.name} is {fault} in rules.json: it began with the hash "
                f"{str(values.get('sha256'))[:SHORT]}. Restore rules.json and the folder rules from a copy."
            )


def rules_meta(path: Path) -> dict[str, Any]:
    """Return the rules of a run for its ``meta.json``: kind, name, hash; empty without any."""
    rules = [{"kind": r.kind, "name": r.rule.name, "sha256": r.sha256} for r in recorded_rules(path)]
    return {"rules": rules} if rules else {}


def copy_rules(source: Path, target: Path, meta: Mapping[str, Any]) -> None:
    """Copy the source of recorded rules into another directory, after checking it.

    Raises
    ------
    RunError
        If a rule is missing or has changed.
    """
    check_rules(source, meta)
    for recorded in recorded_rules(source):
        (target / "rules").mkdir(exist_ok=True)
        write_atomic(target / recorded.file, checked_source(source, recorded))
    with contextlib.suppress(FileNotFoundError):
        write_atomic(target / "rules.json", read_bounded(source / "rules.json"))
