"""Trials: a figure that changes with widgets, in front of the curves of the last changes."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import panel as pn
from bokeh.models import Line
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure

from tsnn.views.live.design import restore_design
from tsnn.views.plots import palette
from tsnn.views.plots.figures import set_range

GHOSTS = 3
_ALPHAS = (0.8, 0.55, 0.35)  # of the ghosts, the newest first


class _Ghost(NamedTuple):
    """Curves of an earlier trial: its values as text, x, y and dash of each curve, the ranges of the figure."""

    label: str
    curves: list[tuple[Any, Any, Any]]
    ranges: list[tuple[float, float]]


def trials(draw: Callable[..., figure], **widgets: Any) -> Any:
    """Return widgets above the figure that a function draws from their values, with the curves of the last trials.

    While the function computes, the figure shows that it is busy. The curves of the last three trials stay behind the
    new ones, in grey, with their values in the legend.

    Parameters
    ----------
    draw : callable
        Returns a figure with curves, such as :func:`tsnn.views.curves` does.
    **widgets
        A widget for each argument of the function; sliders count when they are released.

    Examples
    --------
    >>> trials(learning_curve, zeta=pn.widgets.FloatSlider(label="zeta"))  # doctest: +SKIP
    """
    restore_design()
    ghosts: list[_Ghost] = []

    def drawn(**values: Any) -> figure:
        fig = draw(**values)
        label = ", ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in values.items())
        now = _Ghost(label, _curves(fig), [(each.start, each.end) for each in _ranges(fig)])
        ghosts[:] = [ghost for ghost in ghosts if ghost.label != label][:GHOSTS]
        for ghost, alpha in zip(ghosts, _ALPHAS, strict=False):
            _add(fig, ghost, alpha)
        ghosts.insert(0, now)
        return fig

    changed = {
        name: getattr(widget.param, "value_throttled" if "value_throttled" in widget.param else "value")
        for name, widget in widgets.items()
    }
    plot = pn.panel(pn.bind(drawn, **changed), loading_indicator=True)
    return pn.Column(pn.Row(*widgets.values()), plot, sizing_mode="stretch_width")


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _curves(fig: figure) -> list[tuple[Any, Any, Any]]:
    """Return x, y and dash of the curves of a figure."""
    curves = []
    for renderer in fig.renderers:
        if isinstance(renderer, GlyphRenderer) and isinstance(renderer.glyph, Line):
            source: Any = renderer.data_source
            data, glyph = source.data, renderer.glyph
            curves.append((data[glyph.x], data[glyph.y], glyph.line_dash))
    return curves


def _ranges(fig: figure) -> list[Any]:
    return [fig.x_range, fig.y_range]


def _add(fig: figure, ghost: _Ghost, alpha: float) -> None:
    """Draw a ghost behind the curves of a figure, and let its ranges hold both."""
    for x, y, dash in ghost.curves:
        style: dict[str, Any] = {"color": palette.GREY, "line_dash": dash, "line_alpha": alpha, "level": "underlay"}
        fig.line(x, y, line_width=1.5, legend_label=f"before: {ghost.label}", **style)
    fig.legend[0].visible = True
    for target, (start, end) in zip(_ranges(fig), ghost.ranges, strict=True):
        set_range(target, min(target.start, start), max(target.end, end))
