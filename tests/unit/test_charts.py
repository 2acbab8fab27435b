"""Charts of arrays: the figure draws exactly the given values."""

import numpy as np
import pytest
from bokeh.models import ColumnDataSource

from tsnn import views


def columns(figure, *names):
    """Return the columns of every source that has them all, in the order of drawing."""
    sources = [each.data_source for each in figure.renderers if isinstance(each.data_source, ColumnDataSource)]
    found = [source.data for source in dict.fromkeys(sources) if set(names) <= set(source.data)]
    return [[np.asarray(data[name]).tolist() for name in names] for data in found]


def test_curves__draw_points_and_spread():
    series = {"one": ([1, 2, 3], [4, 5, 9], [0.5, 0.5, 2]), "two": ([1, 3], [-1, 0])}
    figure = views.curves("Title", "x", "y", series)
    assert columns(figure, "x", "y") == [[[1, 2, 3], [4, 5, 9]], [[1, 3], [-1, 0]]]
    assert columns(figure, "y1", "y2") == [[[3.5, 4.5, 7], [4.5, 5.5, 11]]]
    assert [item.label.value for item in figure.legend[0].items] == ["one", "two"]
    assert figure.y_range.start < -1
    assert figure.y_range.end > 11


def test_curves__start_at_zero_or_are_logarithmic():
    points = {"": ([1, 10, 100], [3, 30, 300])}
    assert views.curves("", "", "", points, zero=True).y_range.start == 0
    log = views.curves("", "", "", points, log="xy")
    assert type(log.y_scale).__name__ == "LogScale"
    assert 0 < log.x_range.start < 1
    assert log.y_range.end > 300
    assert not log.legend[0].visible  # a single curve needs no label


def test_histogram__stacks_its_parts():
    rng = np.random.default_rng(0)
    kept, pruned = rng.normal(size=400), rng.normal(size=100) * 0.2
    figure = views.histogram("", "Weight", "Connections", {"kept": kept, "pruned": pruned}, bins=20)
    (low, first), (middle, second) = columns(figure, "bottom", "top")
    assert low == [0] * 20
    assert middle == first
    assert sum(first) == 400
    assert sum(second) - sum(first) == 100
    edges = np.histogram_bin_edges(np.concatenate([kept, pruned]), 20)
    assert first == pytest.approx(np.histogram(kept, edges)[0])
    assert figure.y_range.end > max(second)


@pytest.mark.parametrize("draw", [lambda name: views.curves("", "x", "y", {name: ([1, 2], [3, 4])}),
                                  lambda name: views.histogram("", "x", "y", {name: [1.0, 2.0]})])  # fmt: skip
def test_tooltips__take_names_as_text(draw):
    """Bokeh reads a tooltip's own text as HTML, but not the values of a column."""
    figure = draw("<b>@x</b>")
    assert figure.hover[0].tooltips[0] == ("", "@label")
    assert set(figure.renderers[-1].data_source.data["label"]) == {"<b>@x</b>"}
