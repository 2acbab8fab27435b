"""The page of one session: drawer, head, tabs, and their periodic update."""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages.accessibility import accessibility
from pages.actions import RunActions
from pages.address import LATEST, MULTI_RUN_TABS, NEWEST, RUN_TABS, TABS, Address
from pages.form import StartForm
from pages.keys import run_keys
from pages.lean import drop_empty_defaults, unlinked_page
from pages.lesson_strip import LessonStrip
from pages.multi_run_tabs import MultiRunTabs
from pages.readonly import TITLE, is_readonly
from pages.report_tab import has_report
from pages.theme import CARD, LARGE, MENU, PAGE, THEME, is_dark, plain, repaint
from pages.welcome import Welcome
from tsnn.config import Config
from tsnn.errors import TsnnError
from tsnn.jobs.queue import start_queue_thread
from tsnn.jobs.race import start_race
from tsnn.runs import RunStore, default_root
from tsnn.runs.catalog import catalog
from tsnn.views.live.browser import Throttle
from tsnn.views.live.controls import LiveControls
from tsnn.views.live.follower import RunFollower, follow
from tsnn.views.live.ticker import Ticker
from tsnn.views.tabs.replay import Replay
from tsnn.views.tabs.run import RunView

_LATEST_SECONDS = 1.0  # between two looks for a newer run
_READING_SECONDS = 0.5
_MENU = [{"label": tab.capitalize(), "icon": icon} for tab, icon in TABS.items()]


class Dashboard(Address):
    """One session: the open run and tab, kept in the URL."""

    def __init__(self, store: RunStore | None = None):
        super().__init__()
        self.store = store or RunStore(default_root().resolve())
        self.view: RunView | None = None
        self._page: Any = None
        self._drawer: bool | None = None
        self._ended = ""  # run and version of the last estimate
        self._shown = ""  # id of the displayed run
        self._models = 0  # of the page, when it was made lean
        self._looked = -float("inf")  # when a newer run was looked for
        self._throttle = Throttle()
        self.form = StartForm(self.store, self.open, self.race)
        self.controls = LiveControls(self._notify)
        self.many = MultiRunTabs(self.store, self, self, self.form, lambda: self._shown, self._load_settings)
        self.actions = RunActions(self._load_settings, self._notify, self.open)
        self.keys = run_keys(self.controls.pause_or_resume, self._replay_run)
        self.menu = pmui.TabMenu(
            items=_MENU[:-1], active=0, margin=(0, 16),
            sizing_mode="stretch_width", variant="scrollable", scroll_buttons="false", styles={"min-width": "0"},
            sx=MENU,
        )  # fmt: skip
        self.notice = pmui.Alert(severity="warning", visible=False, closeable=True, margin=0,
                                 sizing_mode="stretch_width")  # fmt: skip
        empty = {"width": 0, "height": 0, "margin": 0}
        sides = {name: pn.Spacer(**empty) for name in ("small", "large")}
        self._narrow = pmui.BreakpointSwitcher(media_query="(min-width: 900px)", **sides, **empty)
        self.strip = LessonStrip(self.store, self.compare, self._choose_lesson, self._notify)
        stretch: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": 0}
        self._head = pn.Row(styles={**CARD, "padding": "12px 16px", "gap": "8px", "flex-flow": "row wrap"}, **stretch)
        self._replay, self._welcome = pn.Column(**stretch), pn.Column(**stretch)
        self._tabs = {tab: pn.Column(**stretch) for tab in TABS}
        self._main = pn.Column(
            self.notice, self.strip.layout, self.form.own_card, self._welcome, self._head, self._replay,
            *self._tabs.values(), self.actions.dialogs, self.keys.dialog, *self.keys.parts, *self._throttle.parts,
            styles={"padding": "16px", "gap": "12px"}, **stretch,
        )  # fmt: skip

    @functools.cached_property
    def welcome(self) -> Welcome:
        """Card of a page without an open run, built when it is first displayed."""
        welcome = Welcome(self.store, self._open_network, self.race, self._notify)
        welcome.list_lessons(*self.strip.known, self._choose_lesson)
        return welcome

    def page(self) -> Any:
        """Build the page and start its periodic update."""
        readonly = is_readonly()
        header = [self.menu, self._narrow, self.keys.script, accessibility(), repaint()]
        page = unlinked_page(
            title="tsnn",
            header=[*header, pmui.Chip(label=TITLE, size="small", align="center")] if readonly else header,
            sidebar_open=not readonly,
            sidebar=[] if readonly else [
                self.controls.settings, self.form.head,
                pn.Column(self.form.layout, margin=(0, 10), sizing_mode="stretch_width"),
            ],
            main=[self._main],
            sidebar_width=340,
            theme_config=THEME,
            dark_theme=is_dark(),
            sx=PAGE,
            busy_indicator=None,
        )  # fmt: skip
        self._narrow.param.watch(self._width_changed, "current")
        self._page = page
        if pn.state.location:
            self.restore(pn.state.location)
        if self.large:
            self._main.styles = {**self._main.styles, **LARGE}
        self._show_menu()
        self.menu.param.watch(self._tab_chosen, "active")
        self.param.watch(self._run_changed, "run_id")
        self.param.watch(lambda _: self._show_tab(), "tab")
        self.param.watch(lambda _: self.many.show("compare"), "compared")
        self.param.watch(lambda _: self.many.show("sweep"), "sweep")
        self.param.watch(lambda event: self.strip.show(event.new), "lesson")
        self.strip.show(self.lesson)
        if not readonly:
            start_queue_thread(self.store)
        (known := catalog(self.store)).refresh(seconds=_READING_SECONDS)
        if not self.run_id and (live := known.live()):
            self.run_id = live.run
        else:
            self._show_run()
        pn.state.onload(self._start_ticker)  # changes while the page is loading do not reach it
        return page

    def open(self, run_id: str) -> None:
        """Open a run."""
        if self.tab in MULTI_RUN_TABS:
            self.tab = "overview"
        follows = self.run_id == LATEST and run_id == self._latest_id()
        if follows or run_id == self.run_id:
            self._show_run()
        if not follows:
            self.run_id = run_id

    def _open_network(self, run_id: str) -> None:
        self.open(run_id)
        self.tab = "network"

    def compare(self, run_ids: list[str]) -> None:
        """Compare runs."""
        self.many.choose_compared(run_ids)
        self.tab = "compare"

    def race(self, configs: list[Config]) -> None:
        """Start runs that race, and compare them."""
        self.compare([run.id for run in start_race(configs, self.store)])

    def _choose_lesson(self, name: str) -> None:
        self.lesson = name

    def _load_settings(self, config: Config, name: str) -> None:
        self.form.load(config)
        self._notify(f"The settings of {name} are in the form. Change them if you like, then press Start.", "info")

    def _start_ticker(self) -> None:
        self._ticker = Ticker(self.tick, self._throttle)

    def tick(self) -> bool:
        """Update the visible tab; returns whether its plots changed."""
        if (document := pn.state.curdoc) and len(document.models) != self._models:
            self._models = len(document.models)
            drop_empty_defaults(document)
        if self._drawer is not None:
            self._page.sidebar_open, self._drawer = self._drawer, None
        if self.run_id == LATEST and time.monotonic() - self._looked > _LATEST_SECONDS:
            self._follow_latest()
        changed = False
        self.controls.tick()
        self.actions.tick()
        self.keys.tick(self.view.follower if self.view else None)
        self.strip.tick()
        if self.tab in MULTI_RUN_TABS:
            changed = self.many.tick(self.tab)
        elif self.view is not None:
            changed = self.view.tick(self.tab)
            self._store_position(self.view.replay)
            self._update_estimate(self.view.follower)
            if changed and self.view.follower.gone and self.run_id != LATEST:
                name, self.run_id = self.run_id, ""
                self._notify(f"Run {name} has been deleted. Start a new one, or choose another under Runs.")
        else:
            changed = self.welcome.tick()
        return changed

    def _replay_run(self, act: Callable[[Replay], None]) -> None:
        if self.view is not None and self.tab not in MULTI_RUN_TABS:
            act(self.view.replay)

    def _latest_id(self) -> str:
        """Return the id of the newest run; empty if there is none."""
        known = catalog(self.store)
        known.refresh(seconds=_READING_SECONDS)
        self._looked = time.monotonic()
        return latest.run if (latest := known.latest()) else ""

    def _follow_latest(self) -> None:
        """Show the newest run if another one is displayed."""
        if self._latest_id() != self._shown:
            self.epoch = NEWEST
            self._show_run()

    def _update_estimate(self, follower: RunFollower) -> None:
        """Estimate the form's run again after a run has ended, also one that ended before the first tick."""
        ended = "" if follower.live else f"{follower.run.id} {follower.version}"
        if ended and ended != self._ended:
            catalog(self.store).refresh(seconds=_READING_SECONDS)
            catalog(self.store).refresh_run(follower.run.id)  # also where the folder takes longer to read
            self.form.show_estimate()
        self._ended = ended

    def _store_position(self, replay: Any) -> None:
        """Copy the epoch and layer of the timeline to the address."""
        position = {"epoch": NEWEST if replay.cursor is None else replay.cursor, "layer": int(replay.layer.value) + 1}
        if position != {"epoch": self.epoch, "layer": self.layer}:
            self.param.update(**position)

    def _restore_position(self, replay: Any) -> None:
        """Show the epoch and layer of the address."""
        if self.layer - 1 in replay.layer.options.values():
            replay.layer.value = self.layer - 1
        if re.fullmatch("[0-9]{1,15}", str(self.epoch)):
            replay.go(int(self.epoch))

    def _run_changed(self, _event: Any) -> None:
        self.epoch = NEWEST
        self._show_run()

    def _width_changed(self, event: Any) -> None:
        wide = event.new is self._narrow.large
        if event.old is not None or not wide:  # a page begins as a wide one: its drawer may have been closed since
            self._drawer = wide  # set by the next tick: changes while the page is loading do not reach it

    def _tab_chosen(self, event: Any) -> None:
        if event.new is not None:
            self.tab = list(TABS)[event.new]

    @pn.io.hold()
    def _show_run(self) -> None:
        self.notice.visible = False
        self.view = None
        self._shown = self._latest_id() if self.run_id == LATEST else self.run_id
        if self._shown:
            try:
                follower = follow(self.store.open(self._shown))
            except TsnnError as error:
                self._notify(str(error))
            else:
                if follower.problem:
                    self._notify(follower.problem)
                self.view = RunView(follower)
        self.controls.open(self.view.follower if self.view else None)
        self.actions.open(self.view)
        head: list[Any] = []
        replay: list[Any] = []
        if self.view is not None:
            self.view.tick("overview")
            self._restore_position(self.view.replay)
            buttons = [] if is_readonly() else [self.controls.buttons]
            head = [self.view.title, *buttons, self.actions.menu, self.view.head]
            replay = [self.view.replay.layout]
        self._head.objects, self._replay.objects = head, replay
        for name in RUN_TABS:
            self._tabs[name].objects = []
        self._show_tab()

    def _show_menu(self) -> None:
        """Mark the open tab; offer the report if there is one."""
        if self.tab == "report" or has_report(self.store):
            self.menu.items = _MENU
        self.menu.active = list(TABS).index(self.tab)

    @pn.io.hold()
    def _show_tab(self) -> None:
        self._show_menu()
        run_open = self.view is not None and self.tab not in MULTI_RUN_TABS
        self._welcome.visible = self.view is None and self.tab not in MULTI_RUN_TABS
        if self._welcome.visible and not len(self._welcome):
            self._welcome.append(self.welcome.layout)
        self._head.visible = self._replay.visible = run_open
        for tab, container in self._tabs.items():
            container.visible = tab == self.tab and (run_open or tab in MULTI_RUN_TABS)
        if self.tab in MULTI_RUN_TABS:
            self.many.show(self.tab)
        elif self.view is not None:
            self.view.tick(self.tab)
        if (run_open or self.tab in MULTI_RUN_TABS) and not len(container := self._tabs[self.tab]):
            # Not earlier: the page loads sooner, and a table that was never displayed keeps the browser busy.
            container.append(self._opened().layout)

    def _opened(self) -> Any:
        """Return the open tab, which is made when it is first opened."""
        if self.tab in MULTI_RUN_TABS:
            return self.many.tab(self.tab)
        assert self.view is not None
        return self.view.tabs[self.tab]

    def _notify(self, text: str, severity: str = "warning") -> None:
        self.notice.param.update(object=plain(text), severity=severity, visible=True)
