"""The page of one session: drawer, head, tabs, and the one callback that keeps them up to date."""

from __future__ import annotations

import functools
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param

from pages.compare import CompareTab
from pages.controls import LiveControls
from pages.form import StartForm
from pages.runs import RunsList
from pages.theme import CARD, KEYS, MENU, PAGE, THEME, html
from tsnn.config import Config
from tsnn.errors import TsnnError
from tsnn.jobs.queue import start_queue_thread
from tsnn.runs import RunStore, default_root
from tsnn.runs.catalog import catalog
from tsnn.views.live.browser import Throttle
from tsnn.views.live.follower import follow
from tsnn.views.notebook import Ticker
from tsnn.views.tabs.run import RunView

#: Tabs by name, with their icons.
TABS = {
    "overview": "show_chart", "connectivity": "hub", "neurons": "scatter_plot", "workers": "lan",
    "compare": "stacked_line_chart", "runs": "list",
}  # fmt: skip
#: Tabs that are about many runs, not about the one that is open.
_MANY = ("compare", "runs")
_OF_A_RUN = tuple(tab for tab in TABS if tab not in _MANY)
NEWEST = "newest"
_READING_SECONDS = 0.5
_WELCOME = """
<h2 style='margin:0 0 8px;font-weight:700;font-size:22px'>Watch a sparse network learn</h2>
<p style='margin:0 0 10px'>Press <b>Start</b> in the form on the left. A network with a few per cent of the
connections of a dense one trains on this machine's CPU, in its own process; closing this page does not stop it.</p>
<ul style='margin:0;padding-left:20px'>
<li><b>Accuracy</b> rises and <b>loss</b> falls here, epoch by epoch.</li>
<li><b>Input connectivity</b> shows how many connections each pixel has, and how that changes.</li>
<li>While it trains, <b>change zeta, epsilon and the learning rate</b>, pause it, and see the effect marked in
the curves.</li></ul>
<p style='margin:10px 0 0;opacity:.75'>Earlier runs are under <b>Runs</b>.</p>
"""


class Dashboard(param.Parameterized):
    """One session: which run and which tab are shown, and their address in the URL."""

    run_id = param.String(default="", doc="Run that is open; empty for none.")
    tab = param.Selector(default="overview", objects=list(TABS), doc="Tab that is shown.")
    epoch = param.Parameter(default=NEWEST, doc="Epoch whose snapshot is shown; 'newest' follows the run.")
    layer = param.Integer(default=1, doc="Layer of connections that is shown, from 1.")
    compared = param.String(default="", doc="Runs that are compared, separated by commas.")

    def __init__(self, store: RunStore | None = None):
        super().__init__()
        self.store = store or RunStore(default_root().resolve())
        self.view: RunView | None = None
        self._page: Any = None
        self._drawer: bool | None = None
        self._throttle = Throttle()
        self.form = StartForm(self.store, self.open)
        self.controls = LiveControls(self._warn)
        self.menu = pmui.TabMenu(
            items=[{"label": tab.capitalize(), "icon": icon} for tab, icon in TABS.items()],
            active=0,
            margin=(0, 16),
            sizing_mode="stretch_width",
            sx=MENU,
        )
        self.notice = pmui.Alert(severity="warning", visible=False, closeable=True, margin=0,
                                 sizing_mode="stretch_width")  # fmt: skip
        empty = {"width": 0, "height": 0, "margin": 0}
        self._narrow = pmui.BreakpointSwitcher(
            media_query="(min-width: 900px)", small=pn.Spacer(**empty), large=pn.Spacer(**empty), **empty
        )
        self._welcome = pn.pane.HTML(html(_WELCOME, "font-size:15px;max-width:760px"), margin=0,
                                     sizing_mode="stretch_width", styles={**CARD, "padding": "24px 28px"})  # fmt: skip
        whole: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": 0}
        self._head = pn.Row(styles={**CARD, "padding": "12px 16px", "gap": "8px"}, **whole)
        self._replay = pn.Column(**whole)
        self._tabs = {tab: pn.Column(**whole) for tab in TABS}
        self._main = pn.Column(
            self.notice, self._welcome, self._head, self._replay, *self._tabs.values(), *self._throttle.parts,
            styles={"padding": "16px", "gap": "12px"}, **whole,
        )  # fmt: skip

    @functools.cached_property
    def runs(self) -> RunsList:
        """The tab Runs, made when it is first seen."""
        return RunsList(self.store, self.open, self.compare, self._take_up)

    @functools.cached_property
    def comparison(self) -> CompareTab:
        """The tab Compare, made when it is first seen."""
        return CompareTab(self.store, lambda: self.run_id, self._choose_compared)

    def page(self) -> Any:
        """Build the page and start following."""
        page = pmui.Page(
            title="tsnn",
            header=[self.menu, self._narrow, pn.pane.HTML(KEYS, width=0, height=0, margin=0)],
            sidebar_open=True,
            sidebar=[self.controls.settings, pmui.Typography("New run", variant="subtitle2", margin=(10, 14, 0, 14)),
                     pn.Column(self.form.layout, margin=(0, 10), sizing_mode="stretch_width")],
            main=[self._main],
            sidebar_width=340,
            theme_config=THEME,
            sx=PAGE,
            busy_indicator=None,
        )  # fmt: skip
        self._narrow.param.watch(self._note_width, "current")
        self._page = page
        with param.edit_constant(page):
            page.param.update(busy=False)  # cuts the link to the session's: it walks the whole page on every flip
        if pn.state.location:
            names = {"run_id": "run", "tab": "tab", "epoch": "epoch", "layer": "layer", "compared": "compare"}
            pn.state.location.sync(self, names)
        self.menu.active = list(TABS).index(self.tab)
        self.menu.param.watch(self._choose_tab, "active")
        self.param.watch(self._another_run, "run_id")
        self.param.watch(lambda _: self._show_tab(), "tab")
        self.param.watch(lambda _: self._show_compared(), "compared")
        start_queue_thread(self.store)
        known = catalog(self.store)
        known.refresh(seconds=_READING_SECONDS)
        if not self.run_id and (live := known.live()):
            self.run_id = live.run
        else:
            self._show_run()
        pn.state.onload(self._begin)  # what is changed while the page is loading does not reach it
        return page

    def open(self, run_id: str) -> None:
        """Show a run."""
        if self.tab in _MANY:
            self.tab = "overview"
        if run_id == self.run_id:
            self._show_run()
        self.run_id = run_id

    def compare(self, run_ids: list[str]) -> None:
        """Show runs beside each other."""
        self._choose_compared(run_ids)
        self.tab = "compare"

    def _choose_compared(self, run_ids: list[str]) -> None:
        self.compared = ",".join(run_ids)

    def _show_compared(self) -> None:
        self.comparison.show([run for run in self.compared.split(",") if run])

    def _take_up(self, config: Config, name: str) -> None:
        self.form.take_up(config)
        self._warn(f"The settings of {name} are in the form. Change them if you like, then press Start.", "info")

    def _begin(self) -> None:
        self._ticker = Ticker(self.tick, self._throttle)

    def tick(self) -> bool:
        """Bring what is visible up to date; returns whether there was much to draw."""
        if self._drawer is not None:
            self._page.sidebar_open, self._drawer = self._drawer, None
        changed = False
        if self.tab == "runs":
            self.runs.update()
        elif self.tab == "compare":
            changed = self.comparison.update()
        elif self.view is not None:
            changed = self.view.tick(self.tab)
            self._note_place(self.view.replay)
            if changed:
                self.controls.update()
                if not self.view.follower.live:
                    catalog(self.store).refresh(seconds=_READING_SECONDS)
                    self.form.show_estimate()
            if changed and self.view.follower.gone:
                name, self.run_id = self.run_id, ""
                self._warn(f"Run {name} has been deleted. Start a new one, or choose another under Runs.")
        return changed

    def _note_place(self, replay: Any) -> None:
        """Keep the address up to date with what the bar of time shows."""
        place = {"epoch": NEWEST if replay.cursor is None else replay.cursor, "layer": int(replay.layer.value) + 1}
        if place != {"epoch": self.epoch, "layer": self.layer}:
            self.param.update(**place)

    def _go_to_place(self, replay: Any) -> None:
        """Show the epoch and the layer that the address names."""
        if self.layer - 1 in replay.layer.options.values():
            replay.layer.value = self.layer - 1
        if str(self.epoch).isdigit():
            replay.go(int(self.epoch))

    def _another_run(self, _event: Any) -> None:
        self.epoch = NEWEST
        self._show_run()

    def _note_width(self, event: Any) -> None:
        # Applied by the next tick, for the same reason as in page().
        self._drawer = event.new is self._narrow.large

    def _choose_tab(self, event: Any) -> None:
        if event.new is not None:
            self.tab = list(TABS)[event.new]

    @pn.io.hold()
    def _show_run(self) -> None:
        self.notice.visible = False
        self.view = None
        if self.run_id:
            try:
                follower = follow(self.store.open(self.run_id))
            except TsnnError as error:
                self._warn(str(error))
            else:
                if follower.problem:
                    self._warn(follower.problem)
                self.view = RunView(follower)
        self.controls.open(self.view.follower if self.view else None)
        head, replay, tabs = [], [], {name: [] for name in _OF_A_RUN}
        if self.view is not None:
            self.view.tick("overview")
            self._go_to_place(self.view.replay)
            head, replay = [self.view.head, self.controls.buttons], [self.view.replay.layout]
            tabs = {name: [self.view.tabs[name].layout] for name in _OF_A_RUN}
        self._head.objects, self._replay.objects = head, replay
        for name, objects in tabs.items():
            self._tabs[name].objects = objects
        self._show_tab()

    @pn.io.hold()
    def _show_tab(self) -> None:
        self.menu.active = list(TABS).index(self.tab)
        opened = self.view is not None and self.tab not in _MANY
        self._welcome.visible = self.view is None and self.tab not in _MANY
        self._head.visible = self._replay.visible = opened
        for tab, place in self._tabs.items():
            place.visible = tab == self.tab and (opened or tab in _MANY)
        if self.tab == "runs":
            self.runs.update(now=True)
        elif self.tab == "compare":
            self._show_compared()
        elif self.view is not None:
            self.view.tick(self.tab)
        if self.tab in _MANY and not len(place := self._tabs[self.tab]):
            # Not earlier: the page is there sooner, and a table that has never been seen keeps the browser busy.
            place.append((self.runs if self.tab == "runs" else self.comparison).layout)

    def _warn(self, words: str, severity: str = "warning") -> None:
        self.notice.param.update(object=escape(words), severity=severity, visible=True)
