"""Command and Python code that repeat a run: its data set, and the settings by which it differs from the preset."""

from __future__ import annotations

import json
import pprint
import shlex
from typing import Any

from tsnn.config import Config
from tsnn.config.presets import BY_SHAPE, PRESETS
from tsnn.errors import ConfigError


def differences(config: Config) -> dict[str, Any]:
    """Return the settings that repeat a run by their full names, without the name of the data set.

    Those that differ from the preset, and the seed; of a file also those that its shape may choose
    (:data:`tsnn.config.presets.BY_SHAPE`).
    """
    name, settings = config.data.name, config.flat()
    known = name in PRESETS
    presets = [Config.preset(name, task).flat() for task in ("auto", *([] if known else ["regression"]))]
    always = {"run.seed"} if known else {"run.seed", *BY_SHAPE}
    return {
        name: value
        for name, value in settings.items()
        if name != "data.name" and (name in always or any(preset.get(name) != value for preset in presets))
    }


def command(config: Config) -> str:
    """Return the command line that trains with these settings."""
    words = ["tsnn", "train", config.data.name]
    for name, value in differences(config).items():
        words += ["--set", f"{name}={_text(name, value)}"]
    return shlex.join(words)


def code(config: Config) -> str:
    """Return Python code that trains with these settings in a new process."""
    settings = pprint.pformat(differences(config), width=88, sort_dicts=False)
    return (
        f"import tsnn\n\nsettings = {settings}\n"
        f"config = tsnn.Config.preset({config.data.name!r}).replace(settings)\n"
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
