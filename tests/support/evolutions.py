"""Settings of evolution for tests that try each of them: the built-in rules, and the options."""

from __future__ import annotations

from typing import Any

from tsnn.registry import PRUNING, REGROWTH

_SETTINGS: list[dict[str, Any]] = [
    *({"training.prune": rule.name} for rule in PRUNING.values() if not rule.is_own),
    *({"training.regrow": rule.name} for rule in REGROWTH.values() if not rule.is_own),
    {"training.new_weights": "zero"},
    {"training.chain_removal": True},
]
#: By name, for ``pytest.mark.parametrize``.
EVOLUTIONS = {"-".join(map(str, settings.values())): settings for settings in _SETTINGS}
