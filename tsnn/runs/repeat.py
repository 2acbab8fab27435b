"""Command and Python code that repeat a run: a preset, and the settings by which the run differs from it."""

from __future__ import annotations

import json
import pprint
import shlex
from typing import Any

from tsnn.config import Config
from tsnn.config.presets import BY_SHAPE, PAPER, PRESETS
from tsnn.errors import ConfigError


def differences(config: Config) -> tuple[str, dict[str, Any]]:
    """Return the preset that repeats a run with the fewest changes, and the changes by their full names.

    Those are the settings that differ from it, and the seed; of a file also those that its shape may choose
    (:data:`tsnn.config.presets.BY_SHAPE`).
    """
    names = [name for name in (config.data.name, PAPER + config.data.name) if name in PRESETS]
    found = [(name, _differences(config, name)) for name in names or [config.data.name]]
    return min(found, key=lambda entry: len(entry[1]))


def _differences(config: Config, name: str) -> dict[str, Any]:
    settings, known = config.flat(), name in PRESETS
    presets = [Config.preset(name, task).flat() for task in ("auto", *([] if known else ["regression"]))]
    always = {"run.seed"} if known else {"run.seed", *BY_SHAPE}
    return {
        name: value
        for name, value in settings.items()
        if name != "data.name" and (name in always or any(preset.get(name) != value for preset in presets))
    }


def command(config: Config) -> str:
    """Return the command line that trains with these settings."""
    preset, changes = differences(config)
    words = ["tsnn", "train", preset]
    for name, value in changes.items():
        words += ["--set", f"{name}={_text(name, value)}"]
    return shlex.join(words)


def code(config: Config) -> str:
    """Return Python code that trains with these settings in a new process."""
    preset, changes = differences(config)
    settings = pprint.pformat(changes, width=88, sort_dicts=False)
    return (
        f"import tsnn\n\nsettings = {settings}\n"
        f"config = tsnn.Config.preset({preset!r}).replace(settings)\n"
        "run = tsnn.start(config)"
    )


def _text(name: str, value: Any) -> str:
    """Return a value as the command line takes it: ``400-100-400``, ``0.3``, ``["a", "b"]``."""
    plain = "-".join(map(str, value)) if isinstance(value, list) else value if isinstance(value, str) else ""
    try:
        if plain and Config().replace({name: plain}).flat().get(name) == value:
            return plain
    except ConfigError:  # it would be read as a value of another type
        pass
    return json.dumps(value, ensure_ascii=False)
