"""Card of the named features: a table by strength of their connections, with download as CSV."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.models.widgets.tables import NumberFormatter

from tsnn.runs.export import csv_bytes
from tsnn.runs.features import rank_features
from tsnn.snapshot import Snapshot
from tsnn.views.live.follower import RunFollower
from tsnn.views.tabs.cards import TABLE, Card
from tsnn.views.tabs.replay import Replay

_PARTS = ("input_degree", "input_strength")
_TITLES = {"rank": "Rank", "feature": "Feature", "strength": "Strength", "connections": "Connections"}
_ROWS = 10  # of a page
_LISTED = 100


class FeatureCard:
    """Table of the input features in one snapshot, the strongest first; hidden for images without names."""

    def __init__(self, follower: RunFollower, replay: Replay):
        self._follower, self._replay = follower, replay
        self._drawn: int | None = None
        self._snapshot: Snapshot | None = None
        self.table = pn.widgets.Tabulator(
            pd.DataFrame(columns=list(_TITLES)), show_index=False, disabled=True, titles=_TITLES, theme="simple",
            pagination="remote", page_size=_ROWS, sizing_mode="stretch_width", layout="fit_columns", margin=(0, 8),
            formatters={"strength": NumberFormatter(format="0.000"), "connections": NumberFormatter(format="0,0.[0]")},
            text_align=dict.fromkeys(("rank", "strength", "connections"), "right"), stylesheets=[TABLE],
        )  # fmt: skip
        self.download = pmui.FileDownload(
            label="All features as CSV", callback=self._csv, filename="features.csv", size="small", variant="outlined",
            margin=(6, 8),
        )  # fmt: skip
        self.layout = Card(self.table, "features", self.download, visible=False)

    def update(self) -> None:
        """List the features of the snapshot of the timeline, if it has changed."""
        epoch, names = self._replay.epoch, self._follower.feature_names
        if epoch is None or epoch == self._drawn or (self._follower.image_shape and not names):
            return
        snapshot = self._follower.snapshot(epoch, 0, _PARTS)
        if snapshot is None or snapshot.input_strength is None or snapshot.input_degree is None:
            return
        self._drawn, self._snapshot = epoch, snapshot
        columns = self._ranked(_LISTED)
        self.table.value = pd.DataFrame({name: columns[name] for name in _TITLES})
        n = len(snapshot.input_strength)
        self.layout.set_note(f"The {_LISTED} strongest of {n:,}; the file has all." if n > _LISTED else "")
        self.download.filename = f"features-{self._follower.run.id}-epoch{epoch}.csv"
        if not self.layout.visible:
            self.layout.visible = True

    def _ranked(self, first: int | None = None) -> dict[str, list[Any]]:
        snapshot = self._snapshot
        if snapshot is None or snapshot.input_strength is None or snapshot.input_degree is None:
            return {}
        values = snapshot.input_strength, snapshot.input_degree
        return rank_features(*values, self._follower.feature_names, int(snapshot.sizes[0]), first=first)

    def _csv(self) -> io.BytesIO:
        return io.BytesIO(csv_bytes(self._ranked()))
