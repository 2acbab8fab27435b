"""Keys of the page, its title, and a notification when the open run ends."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages.theme import html
from tsnn.records import OVER, RunState
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots import palette
from tsnn.views.tabs.replay import Replay
from tsnn.views.tabs.summary import progress, run_description

#: What each key does, by its name in the list of keys.
HELP = {
    "Space": "Pause or resume the run",
    "← →": "Previous or next snapshot",
    "f": "Follow the newest epoch",
    "?": "This list",
}
#: Names by which the page calls the keys.
PAUSE, BACK, FORWARD, FOLLOW, LIST = " ", "ArrowLeft", "ArrowRight", "f", "?"
#: Sends the keys to the server, unless a part that uses them itself has the focus: a field, a slider or a selection all
#: keys, a button, tab or dialog space and arrows. Quick presses can arrive as one change, which holds their number and
#: the last of them.
_SCRIPT = """<script>
const tsnnPresses = []
document.addEventListener("keydown", event => {
    const path = event.composedPath()
    if (!KEYS.includes(event.key) || event.ctrlKey || event.altKey || event.metaKey) return
    const fields = "input, textarea, select, [contenteditable], [role=combobox], [role=listbox], [role=menu]"
    const moves = event.key == " " || event.key.startsWith("Arrow")
    const own = moves ? `${fields}, button, a, summary, [role], [tabindex='0']` : fields
    const free = part => part.tagName == "MAIN" || part.role == "figure"
    if (path.some(part => part instanceof Element && !free(part) && part.matches(own))) return
    for (const page of Bokeh.documents)
        for (const model of page.all_models)
            if (model.tags.includes("pressed")) {
                event.preventDefault()
                model.value = `${tsnnPresses.push(event.key)}:${tsnnPresses.slice(-20)}`
            }
})
</script>"""
#: Seconds between two updates of the title while a run trains: it is sent also to pages that show nothing of the run.
_TITLE_SECONDS = 10.0
_TITLE = "document.title = cb_obj.value"
_NOTIFY = 'if (window.Notification?.permission == "granted") new Notification("tsnn", {body: cb_obj.value})'
_ALLOW = (
    "<button style='font:inherit;padding:6px 12px;cursor:pointer' onclick='Notification.requestPermission().then("
    "answer => this.textContent = answer == &quot;granted&quot; ? &quot;Notifications are on&quot; : "
    "&quot;The browser refuses notifications&quot;)'>Notify me when a run ends</button>"
)
_SYMBOLS = {
    RunState.QUEUED: "…", RunState.PAUSED: "‖", RunState.FINISHED: "✓", RunState.STOPPED: "■",
    RunState.FAILED: "✗", RunState.LOST: "✗",
}  # fmt: skip


class PageKeys:
    """Keyboard, title and notifications of a page.

    Parameters
    ----------
    actions : mapping
        What each key does, except the one that lists the keys.

    Attributes
    ----------
    script, parts, dialog : Panel objects
        Belong on the page; only the dialog is ever visible.
    """

    def __init__(self, actions: Mapping[str, Callable[[], Any]]):
        self._actions = {**actions, LIST: self._list}
        self._run: tuple[str, bool] = ("", False)  # id and whether it was live
        self._presses = 0
        self._titled: tuple[str, str] = ("", "")  # id and state of the run in the title
        self._since = -_TITLE_SECONDS
        keys = "[" + ", ".join(f'"{key}"' for key in self._actions) + "]"
        self.script = pn.pane.HTML(_SCRIPT.replace("KEYS", keys), width=0, height=0, margin=0)
        self.pressed = pn.widgets.TextInput(visible=False, tags=["pressed"])
        self.title, self.ended = (pn.widgets.TextInput(visible=False) for _ in range(2))
        self.title.jscallback(value=_TITLE)
        self.ended.jscallback(value=_NOTIFY)
        self.parts = [self.pressed, self.title, self.ended]
        rows = "".join(f"<tr><td style='padding:4px 24px 4px 0'><kbd>{k}</kbd></td><td>{v}</td></tr>"
                       for k, v in HELP.items())  # fmt: skip
        self.dialog = pmui.Dialog(
            pn.pane.HTML(html(f"<table>{rows}</table><p>{_ALLOW}</p>", "font-size:15px"), margin=8),
            title="Keys", close_on_click=True, show_close_button=True, width_option="xs",
        )  # fmt: skip
        self.pressed.param.watch(self._pressed, "value")

    def tick(self, follower: RunFollower | None) -> None:
        """Show state and epoch of the open run in the title, and notify when it has ended."""
        self._show_title(follower)
        before, self._run = self._run, ("", False) if follower is None else (follower.run.id, follower.live)
        if follower is not None and before == (follower.run.id, True) and follower.state in OVER:
            self.ended.value = end_text(follower)

    def _show_title(self, follower: RunFollower | None) -> None:
        titled = ("", "") if follower is None else (follower.run.id, follower.state)
        waited = time.monotonic() - self._since >= _TITLE_SECONDS
        if waited or titled != self._titled or follower is None or not follower.live:
            self._titled = titled
            if (title := page_title(follower)) != self.title.value:
                self.title.value, self._since = title, time.monotonic()

    def _pressed(self, event: Any) -> None:
        number, _, keys = event.new.partition(":")
        if not re.fullmatch("[0-9]{1,9}", number):
            return
        fresh, self._presses = int(number) - self._presses, int(number)
        for key in keys.split(",")[-fresh:] if fresh > 0 else ():
            if (action := self._actions.get(key)) is not None:
                action()

    def _list(self) -> None:
        self.dialog.open = True


def page_title(follower: RunFollower | None) -> str:
    """Return the title of a page: ``● 12/60 tsnn`` while a run trains."""
    if follower is None:
        return "tsnn"
    done, total = progress(follower)
    return f"{_SYMBOLS.get(RunState(follower.state), '●')} {int(done):,}/{total:,} tsnn"


def end_text(follower: RunFollower) -> str:
    """Return a sentence about a run that has ended."""
    accuracy = follower.history.last("test_accuracy")
    result = "" if accuracy is None else f", test accuracy {palette.percent(accuracy)}"
    return f"{follower.notes.title or run_description(follower)}: {follower.state}{result}"


def run_keys(pause: Callable[[], None], replay: Callable[[Callable[[Replay], None]], None]) -> PageKeys:
    """Return the keys of the open run.

    Parameters
    ----------
    pause : callable
        Pauses or resumes it.
    replay : callable
        Called with a function of the run's timeline.
    """
    return PageKeys({
        PAUSE: pause,
        BACK: lambda: replay(lambda timeline: timeline.step(-1)),
        FORWARD: lambda: replay(lambda timeline: timeline.step(1)),
        FOLLOW: lambda: replay(lambda timeline: timeline.follow_newest()),
    })  # fmt: skip
