"""Settings that the form loads for a data set: a demonstration, tsnn's, the papers'."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import panel_material_ui as pmui

from pages.settings import EVEN_HEIGHT
from tsnn.config import Config
from tsnn.config.presets import PAPER, PRESETS
from tsnn.datasets import DatasetInfo

#: First preset of the page, a run of half a minute on the bundled images. Not the papers' settings: with them 85 % test
#: accuracy takes more epochs, and evolution does not find informative pixels. Here the connections of a pixel in the
#: centre are 3 times those of one at the border (``python -m tests.benchmarks.demonstration``). Dense
#: diverges at 0.03 (the same with ``--race``, measured with dropout 0.3).
DEMONSTRATION = {
    "data.name": "fashion_mnist",
    "data.size": "small",
    "data.preprocessing": "minmax",
    "training.regrow": "gradient",
    "training.learning_rate": 0.02,
    "training.weight_decay": 1e-4,
    "network.dropout": 0.1,
    "training.epochs": 200,
}


def presets(data: str) -> dict[str, Config]:
    """Return the settings that the form can load for a data set, by title; first those that it loads by itself."""
    found = {"tsnn's": Config.preset(data)}
    if data == DEMONSTRATION["data.name"]:
        found = {"demonstration": Config.preset(PAPER + data).replace(DEMONSTRATION), **found}
    if PAPER + data in PRESETS and Config.preset(PAPER + data) not in found.values():
        found["the papers'"] = Config.preset(PAPER + data)
    return found


def presets_widget(data: str, config: Config) -> Any:
    """Return a selection of the settings that the form can load; visible if there are several."""
    widget = pmui.Select(
        label="Preset", size="small", sizing_mode="stretch_width", margin=(6, 4), sx=EVEN_HEIGHT,
        description="Loads settings: tsnn's, or those of the papers.",
    )  # fmt: skip
    show_presets(widget, data, config)
    return widget


def show_presets(widget: Any, data: str, config: Config) -> None:
    """Show the presets of a data set, and which of them a configuration is."""
    found = presets(data)
    widget.param.update(
        options=list(found), value=next((title for title, known in found.items() if known == config), None),
        visible=len(found) > 1,
    )  # fmt: skip


def data_options(known: Iterable[DatasetInfo]) -> dict[str, str]:
    """Return the names of data sets by their titles."""
    options = {}
    for info in known:
        note = "" if info.available else " (will be downloaded)" if info.sizes else " (needs a file in TSNN_DATA)"
        options[info.title + note] = info.name
    return options
