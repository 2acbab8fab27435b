"""Live plots of a sweep in a notebook cell or in a custom page: ``tsnn.views.sweep(sweep)``."""

# mypy: disable-error-code="no-untyped-call"
# Panel's constructors are not annotated.

from __future__ import annotations

import holoviews as hv

from tsnn.runs.sweeps import Sweep
from tsnn.views.live.design import restore_design
from tsnn.views.live.sweep_follower import follow_sweep
from tsnn.views.live.ticker import Ticker
from tsnn.views.notebook import LivePane, push
from tsnn.views.plots import sweep_plots
from tsnn.views.plots.sweep_table import SweepTable, find_setting, sweep_table
from tsnn.views.tabs.sweep import SweepView
from tsnn.views.tabs.sweep_topology import topologies


class SweepPane(LivePane):
    """Plots of a sweep that fill while its trials run; each is also a plain HoloViews object.

    Parameters
    ----------
    found : Sweep
        The sweep.
    period : int
        Milliseconds between two updates.

    Attributes
    ----------
    view : SweepView
        The linked plots.
    """

    def __init__(self, found: Sweep, period: int = 1000):
        restore_design()
        self._sweep = found
        follower = follow_sweep(found)
        self.view = SweepView(follower)
        super().__init__(self.view.layout, sizing_mode="stretch_width")

        def tick() -> bool:
            with self.lock:
                if changed := self.view.tick():
                    push(self)
            if follower.over and not changed:
                ticker.callback.stop()
            return changed

        ticker = Ticker(tick, self.throttle, period)

    @property
    def table(self) -> SweepTable:
        """The trials with their present results."""
        return sweep_table(self._sweep)

    def heat_map(self, x: str, y: str, others: str = "mean", epochs: int = 0) -> hv.Overlay:
        """Return the mean objective over two settings.

        Parameters
        ----------
        x, y : str
            The settings, by full or short name.
        others : {"mean", "best"}
            Where further settings differ: the mean over them, or the best of them.
        epochs : int
            With successive halving, those of the round whose results are drawn; by default of the first.
        """
        table = sweep_table(self._sweep, epochs=epochs)
        return sweep_plots.heat_map(table, find_setting(table, x), find_setting(table, y), others)

    def trade_off(self, cost: str = "connections") -> hv.Overlay:
        """Return the objective against a cost, with the Pareto front.

        Parameters
        ----------
        cost : {"connections", "seconds"}
            The cost.
        """
        return sweep_plots.trade_off(self.table, cost)

    def parallel(self) -> hv.Overlay:
        """Return parallel coordinates of the settings and the objective."""
        return sweep_plots.parallel(self.table)

    def importance(self) -> hv.Bars:
        """Return the fraction of the variance of the objective that each setting explains."""
        return sweep_plots.importance_plot(self.table)

    def topologies(self, x: str, y: str, *, network: bool = True) -> hv.Layout:
        """Return the final topologies over two settings, with a slider for each.

        All are computed: ``hv.save(plots.topologies("zeta", "epsilon"), "map.html", resources="inline")`` writes a file
        whose sliders need no kernel. That of :func:`tsnn.report` loads no style sheets from the network either.

        Parameters
        ----------
        x, y : str
            The settings, by full or short name.
        network : bool
            Also draw the networks, next to the inputs and the degrees.
        """
        return topologies(self._sweep, self.table, x, y, network=network)


def sweep(found: Sweep, *, period: int = 1000) -> SweepPane:
    """Return the plots of a sweep, which fill while its trials run; selecting in one marks the others.

    Parameters
    ----------
    found : Sweep
        The sweep, as ``tsnn.sweep(...)`` returns it.
    period : int
        Milliseconds between two updates.

    Examples
    --------
    >>> plots = sweep(found)  # doctest: +SKIP
    >>> plots.heat_map("zeta", "epsilon")  # doctest: +SKIP
    """
    return SweepPane(found, period)
