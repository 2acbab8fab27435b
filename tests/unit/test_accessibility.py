"""Text alternatives and contrasts, without a browser."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from bokeh.plotting import figure
from numpy.typing import NDArray
from pages.theme import THEME

from tests.support import fake_engine
from tsnn.config import Config
from tsnn.runs import RunStore
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots import palette
from tsnn.views.tabs.captions import CAPTIONS
from tsnn.views.tabs.cards import Card
from tsnn.views.tabs.run import RunView

PAPERS = [THEME["light"]["palette"]["background"]["paper"], THEME["dark"]["palette"]["background"]["paper"]]
#: Linear colours as seen with each colour vision (Machado and others, 2009, severity 1).
VISIONS = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(color: str, vision: str) -> NDArray[np.float64]:
    """Return a colour in CIELAB as it is seen."""
    srgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(XYZ @ np.clip(VISIONS[vision] @ linear, 1e-4, 1) / np.array([0.95047, 1, 1.08883]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("color", [*palette.SERIES, palette.TRAIN, palette.TEST, palette.EDGE])
@pytest.mark.parametrize("paper", PAPERS)
def test_palette__curves_stand_out_from_the_page(color, paper):
    assert palette.contrast(color, paper) >= 3


@pytest.mark.parametrize("vision", VISIONS)
def test_palette__first_series_differ_with_every_colour_vision(vision):
    seen = [lab(color, vision) for color in palette.SERIES[:6]]
    assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) > 10


@pytest.mark.parametrize("color", palette.STATE_COLORS.values())
def test_palette__texts_of_badges_are_readable(color):
    assert palette.contrast(palette.text_on(color), color) >= 4.5


def test_palette__contrast_is_that_of_wcag():
    assert palette.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert palette.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_figures__say_title_last_values_and_caption(tmp_path):
    run = fake_engine.finished_run(RunStore(tmp_path), {"data.name": "fashion_mnist", "training.epochs": 12}, 12)
    view = RunView(RunFollower(run, min_interval=0))
    for tab in ("overview", "network", "connectivity", "neurons"):
        view.tick(tab)
    cards = [card for tab in view.tabs.values() for card in tab.layout.select(Card) if isinstance(card.figure, figure)]
    assert len(cards) > 12
    for card in cards:
        said = card.figure.html_attributes
        assert said["role"] == "figure"
        assert said["aria-label"]
        assert said["aria-description"].endswith(CAPTIONS[card.name])
    last = fake_engine.epoch_record(12, Config.preset("fashion_mnist"))
    said = view.tabs["overview"].plots["accuracy"].figure.html_attributes["aria-label"]
    assert said == (
        f"Accuracy (%). Epoch 12: training, with dropout {100 * last.train_accuracy:.1f} %, "
        f"test {100 * last.test_accuracy:.1f} %."
    )
