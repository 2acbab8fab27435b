"""Tabs of the page about many runs: Sweep, Compare, Runs and Report; each is built when it is first opened."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

from pages.address import Address
from pages.compare import CompareTab
from pages.form import StartForm
from pages.report_tab import ReportTab
from pages.runs import RunsTab
from pages.sweep import SweepTab
from tsnn.config import Config
from tsnn.runs import RunStore


class Page(Protocol):
    """Actions of the page that its tabs cause."""

    def open(self, run_id: str) -> None:
        """Open a run."""

    def compare(self, run_ids: list[str]) -> None:
        """Compare runs."""


class MultiRunTabs:
    """Tabs about many runs.

    Parameters
    ----------
    store : RunStore
        Where runs are kept.
    address : Address
        State of the page.
    page : Page
        The page.
    form : StartForm
        Settings of a new run, which sweeps vary.
    open_run : callable
        Returns the id of the open run, or "".
    load : callable
        Called with settings for the form, and the name of their run.
    """

    def __init__(
        self, store: RunStore, address: Address, page: Page, form: StartForm, open_run: Callable[[], str],
        load: Callable[[Config, str], None],
    ):  # fmt: skip
        self._store, self._address, self._page, self._form = store, address, page, form
        self._open_run, self._load = open_run, load

    @functools.cached_property
    def runs(self) -> RunsTab:
        """Tab Runs."""
        tab = RunsTab(self._store, self._page.open, self._page.compare, self._load)
        if self._address.columns:
            tab.columns.value = [
                name for name in self._address.columns.split(",") if name in tab.columns.options.values()
            ]
        tab.columns.param.watch(lambda event: self._address.param.update(columns=",".join(event.new)), "value")
        return tab

    @functools.cached_property
    def comparison(self) -> CompareTab:
        """Tab Compare."""
        return CompareTab(self._store, self._open_run, self.choose_compared)

    @functools.cached_property
    def sweeps(self) -> SweepTab:
        """Tab Sweep."""
        return SweepTab(self._store, self._form.settings, self._page.open, self._page.compare, self._choose_sweep)

    @functools.cached_property
    def report(self) -> ReportTab:
        """Tab Report."""
        return ReportTab(self._store)

    def tab(self, name: str) -> Any:
        """Return a tab."""
        return getattr(self, {"compare": "comparison", "sweep": "sweeps"}.get(name, name))

    def show(self, name: str) -> None:
        """Show the state of the address in a tab that is opened."""
        if name == "runs":
            self.runs.update(now=True)
        elif name == "report":
            self.report.update()
        elif name == "compare":
            self.comparison.show([run for run in self._address.compared.split(",") if run])
        else:
            self.sweeps.show(self._address.sweep)

    def tick(self, name: str) -> bool:
        """Update a tab that is open; returns whether its plots changed."""
        return bool(self.tab(name).update())

    def choose_compared(self, run_ids: list[str]) -> None:
        """Put the compared runs into the address."""
        self._address.compared = ",".join(run_ids)

    def _choose_sweep(self, name: str) -> None:
        self._address.sweep = name
