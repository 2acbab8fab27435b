"""Errors tab: mistakes of the network in the snapshot of the timeline, and the inputs that decided."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
from numpy.typing import NDArray

from tsnn.snapshot import MAX_CONFUSED, MAX_COUNTED, MAX_PIXELS, Snapshot
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots import palette
from tsnn.views.plots.examples import ContributionPlot, ExamplePictures, describe_sample
from tsnn.views.plots.mistakes import ClassPlot, ConfusionPlot, ScatterPlot, output_name, output_names
from tsnn.views.tabs.cards import Card, empty_pane, figure_pane, grid, say_empty, update_empty_pane, with_caption
from tsnn.views.tabs.replay import Replay

#: Fields of a snapshot that the tab displays.
_PARTS = (
    "test_counts", "test_confusion", "test_scatter", "test_samples", "test_sample_values", "test_pixels", "test_inputs",
    "test_contributions", "test_features",
)  # fmt: skip
_START = "The test part is tested for the first time after epoch 1. Move the slider on."
_NONE = (
    "No errors were recorded at this epoch: by an older version of tsnn, or in phase 2 of a parallel run, where each "
)
_NONE += "worker tests its own model. Move the slider to another epoch."
_NO_TEST = "This run has no test part, so there are no errors to show."
_TOO_MANY = f"Errors are recorded of at most {MAX_COUNTED:,} classes."
_MAX_CELLS = 100  # to choose from

Cell = tuple[int, int]  # actual and predicted class


class ErrorsTab:
    """Confusion of classes or scatter of values, results per class, and samples with the inputs that decided."""

    def __init__(self, follower: RunFollower, replay: Replay):
        self._follower, self._replay = follower, replay
        self._drawn: int | None = None
        self._snapshot: Snapshot | None = None
        self._listing = False
        self._chosen: Cell | None = None  # by the user; None: the most frequent confusion
        self._cards: dict[str, Card] = {}
        self.pictures: ExamplePictures | None = None
        self.contributions: ContributionPlot | None = None
        self._empty = empty_pane()
        self.layout = pn.Column(self._empty, sizing_mode="stretch_width", margin=0)

    @pn.io.hold()
    def update(self, *, figures_only: bool = False) -> None:
        """Draw the snapshot of the timeline, if it has changed."""
        epoch = self._replay.epoch
        if epoch is not None and epoch == self._drawn:
            return
        snapshot = None if epoch is None else self._follower.snapshot(epoch, None, _PARTS)
        if snapshot is None or (snapshot.test_counts is None and snapshot.test_scatter is None):
            self._drawn = None if snapshot is None else epoch
            self._say_why_empty(snapshot, epoch or 0)
            return
        self._drawn, self._snapshot = epoch, snapshot
        if not self._cards:
            self._build(snapshot)
        if self.layout.objects[0] is self._empty:
            self.layout.objects = [self._grid]
        for plot in self.plots.values():
            plot.update(snapshot)
        if "classes" in self.plots:
            many = len(snapshot.test_counts) if snapshot.test_counts is not None else 0
            note = self.plots["classes"].note
            if self._task == "classification" and many > MAX_CONFUSED:
                note = f"{many:,} classes: too many for a confusion matrix. {note}"
            self._cards["classes"].set_note(note)
        self._list_cells(snapshot)

    def _say_why_empty(self, snapshot: Snapshot | None, epoch: int) -> None:
        if self.layout.objects[0] is not self._empty:
            self.layout.objects = [self._empty]
        if snapshot is None:
            update_empty_pane(self._empty, self._follower)
        elif not self._data.get("n_test", 1):
            say_empty(self._empty, _NO_TEST)
        elif int(self._data.get("n_outputs", 0)) > MAX_COUNTED:
            say_empty(self._empty, _TOO_MANY)
        elif self._follower.live or any(self._follower.snapshots):
            say_empty(self._empty, _NONE if epoch else _START)
        else:
            update_empty_pane(self._empty, self._follower)

    @property
    def _data(self) -> Mapping[str, Any]:
        data: Mapping[str, Any] = self._follower.meta.get("data", {})
        return data

    @property
    def _task(self) -> str:
        return str(self._data.get("task"))

    def _build(self, snapshot: Snapshot) -> None:
        """Make the figures and choices for the kind of task."""
        self._names, n = output_names(self._data), int(snapshot.sizes[-1])
        plots = {"confusion": (snapshot.test_confusion, ConfusionPlot(self._names, self.choose)),
                 "classes": (snapshot.test_counts, ClassPlot(self._names)),
                 "scatter": (snapshot.test_scatter, ScatterPlot(self._names))}  # fmt: skip
        self.plots: dict[str, Any] = {name: plot for name, (field, plot) in plots.items() if field is not None}
        self._cards = {name: Card(figure_pane(plot.figure), name) for name, plot in self.plots.items()}
        self.target = _select(
            "Target", {output_name(self._names, i): i for i in range(n)} if "scatter" in self.plots else {}
        )
        self.target.param.watch(self._target_chosen, "value")
        if "scatter" in self.plots and n > 1:
            self._cards["scatter"].insert(1, with_caption(self.target, "target"))
        self._cards["samples"] = self._build_samples()
        order = ("confusion", "scatter", "samples", "classes")
        self._grid = grid(*(self._cards[name] for name in order if name in self._cards))

    def _build_samples(self) -> Card:
        """Make the card of the samples: pictures, or the contributions of features to one sample."""
        shape, regression = self._follower.image_shape, self._task == "regression"
        self.cell, self.sample = _select("Actual → predicted"), _select("Test sample")
        self.cell.param.watch(self._cell_chosen, "value")
        self.sample.param.watch(lambda _: self._draw_sample(), "value")
        choices = [] if regression else [with_caption(self.cell, "cell")]
        if shape and math.prod(shape) <= MAX_PIXELS:
            self.pictures = ExamplePictures(shape, self._names, regression=regression)
            figure, caption = self.pictures.figure, "pictures"
        else:
            self.contributions = ContributionPlot(self._follower.feature_names, self._names, regression=regression)
            figure, caption = self.contributions.figure, "errors_contributions" if regression else "contributions"
            choices.append(with_caption(self.sample, "sample"))
        centred = pn.Row(
            figure_pane(figure), sizing_mode="stretch_width", margin=0, styles={"justify-content": "center"}
        )  # fmt: skip
        return Card(pn.Column(*choices, centred, sizing_mode="stretch_width", margin=0), caption)

    def choose(self, actual: int, predicted: int) -> None:
        """Show samples of a class for which a class is predicted."""
        self._chosen = actual, predicted
        if self._snapshot is not None:
            with pn.io.hold():
                self._list_cells(self._snapshot)

    def _cell_chosen(self, event: Any) -> None:
        if not self._listing and event.new is not None:
            self.choose(*event.new)

    def _target_chosen(self, event: Any) -> None:
        if event.new is not None and self._snapshot is not None:
            self.plots["scatter"].target = event.new
            self.plots["scatter"].update(self._snapshot)

    def _list_cells(self, snapshot: Snapshot) -> None:
        """List the kinds of samples, and choose one: that of the user, else the most frequent confusion."""
        cells = self._cells(snapshot)
        cell = self._chosen or next(iter(cells), (0, 0))
        if cell not in cells:
            cells = {cell: 0, **cells}
        options = {self._cell_label(at, count): at for at, count in cells.items()}
        self._listing = True
        try:
            if options != self.cell.options or self.cell.value != cell:
                self.cell.param.update(options=options, value=cell)
        finally:
            self._listing = False
        if "confusion" in self.plots:
            self.plots["confusion"].choose(*cell)
        self._list_samples(snapshot, cell, cells[cell])

    def _cells(self, snapshot: Snapshot) -> dict[Cell, int]:
        """Return the kinds of samples with their numbers, the most frequent confusion first, correct ones last."""
        confusion, samples = snapshot.test_confusion, snapshot.test_samples
        if confusion is not None:
            places = np.argwhere(confusion)
            counts = confusion[tuple(places.T)]
        elif samples is not None and len(samples):
            places, counts = np.unique(samples[:, 1:], axis=0, return_counts=True)
        else:
            return {}
        correct = places[:, 0] == places[:, 1]
        order = np.lexsort((-counts, correct))[:_MAX_CELLS]
        return {(int(a), int(p)): int(n) for (a, p), n in zip(places[order], counts[order], strict=True)}

    def _cell_label(self, cell: Cell, count: int) -> str:
        actual, predicted = (output_name(self._names, c) for c in cell)
        kept = "" if self._snapshot is not None and self._snapshot.test_confusion is not None else " kept"
        return f"{actual} → {predicted} ({palette.count(count)}{kept})"

    def _list_samples(self, snapshot: Snapshot, cell: Cell, count: int) -> None:
        """List the kept samples of a kind, and draw them."""
        samples, regression = snapshot.test_samples, self._task == "regression"
        rows = np.empty((0, 3), np.int64) if samples is None else samples
        found = range(len(rows)) if regression else np.flatnonzero((rows[:, 1:] == cell).all(axis=1)).tolist()
        options = {self._sample_label(snapshot, i): i for i in found}
        value = self.sample.value if self.sample.value in options.values() else next(iter(options.values()), None)
        self._listing = True
        try:
            self.sample.param.update(options=options, value=value)
        finally:
            self._listing = False
        self._cards["samples"].set_note(_note(samples, len(options), count, regression=regression))
        if self.pictures is not None:
            self.pictures.update(snapshot, list(found))
        else:
            self._draw_sample()

    def _sample_label(self, snapshot: Snapshot, index: int) -> str:
        assert snapshot.test_samples is not None
        text = describe_sample(snapshot, index, self._names, regression=self._task == "regression")
        return f"Test sample {snapshot.test_samples[index, 0]:,}: {text}"

    def _draw_sample(self) -> None:
        if not self._listing and self._snapshot is not None and self.contributions is not None:
            self.contributions.update(self._snapshot, self.sample.value)


def _select(label: str, options: dict[str, int] | None = None) -> Any:
    options = options or {}
    value = next(iter(options.values()), None)
    return pmui.Select(
        label=label, options=options, value=value, size="small", sizing_mode="stretch_width", margin=(8, 8, 4, 8)
    )  # fmt: skip


def _note(samples: NDArray[Any] | None, kept: int, count: int, *, regression: bool) -> str:
    """Return a note about how many samples are shown."""
    if samples is None:
        return "Only counts were recorded at this epoch; the planned snapshots hold samples."
    if regression:
        return f"The {kept} largest errors."
    if not kept:
        return "No test sample is of this kind." if not count else "No sample of this kind was kept."
    return ""
