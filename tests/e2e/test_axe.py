"""Accessibility of every tab, checked by axe-core; operation by keyboard; narrow pages."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from pages.address import TABS as ALL_TABS

from tests.support import fake_engine
from tests.support.dashboard import open_page
from tests.support.waiting import wait_until
from tsnn.files import append_line
from tsnn.runs.control import request
from tsnn.runs.measures import FILE, LAYER_VALUES

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(1200), pytest.mark.compiled]

#: Rules of axe-core that the page may break, and why. None at present.
EXCEPTIONS: dict[str, str] = {}
TABS = [tab for tab in ALL_TABS if tab != "report"]  #: that a folder without report has
#: The levels A and AA of WCAG 2.1.
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
#: Cards and the main part that are wider than the page, and cards and grids that are lower than their content.
TOO_WIDE = """() => {
    const wide = []
    const visit = (root) => {
        for (const element of root.querySelectorAll("*")) {
            const style = getComputedStyle(element), box = element.getBoundingClientRect()
            const card = style.borderRadius === "8px" && box.width > 0
            if (card && box.right > innerWidth + 1) wide.push(`card to ${box.right}: ${element.className}`)
            const filled = card || style.display === "grid" && element.matches("[class*=layout-Column]")
            if (filled && element.scrollHeight > element.clientHeight + 2) wide.push(`low: ${element.className}`)
            if (element.matches(".main-content") && element.scrollWidth > element.clientWidth + 1) wide.push("main")
            if (element.shadowRoot) visit(element.shadowRoot)
        }
    }
    visit(document)
    return wide
}"""
#: Lists from now on the kinds of parts of figures, and of tables, that are changed because of the theme.
NOTE_RESTYLED = """() => {
    window.restyled = new Set()
    const styles = /color$|font$|^stylesheets$/, kinds = /Axis$|^Legend$|^Figure$|Grid$|^Title$|Tabulator$/
    Bokeh.documents[0].on_change((event) => {
        if (kinds.test(event.model?.type) && styles.test(event.attr)) restyled.add(`${event.model.type}.${event.attr}`)
    })
}"""
#: Least brightness, of all displayed figures, of the brightest pixel left of the plot: the labels of its axis.
BRIGHTEST = """() => {
    let least = 255
    for (const view of Bokeh.index.query((view) => view.model.type == "Figure" && view.el.offsetParent)) {
        if (!view.model.left.some((axis) => axis.visible)) continue
        const {canvas} = view.canvas_view.primary, ratio = canvas.width / view.bbox.width
        const pixels = canvas.getContext("2d").getImageData(0, 0, ratio * view.frame.bbox.left - 2, canvas.height).data
        let most = 0
        for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] > 200) most = Math.max(most, pixels[i])
        least = Math.min(least, most)
    }
    return least
}"""
#: Name of the element with the focus.
FOCUSED = """() => {
    let at = document.activeElement
    while (at.shadowRoot?.activeElement) at = at.shadowRoot.activeElement
    return at.ariaLabel ?? at.innerText ?? ""
}"""


def violations(page: Any, rules: list[str] = LEVELS) -> list[str]:
    """Return the serious and critical violations of rules of axe-core, by tags or by names, with the elements."""
    options = {"resultTypes": ["violations"], "runOnly": rules, "preload": False, "iframes": False}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:160]}"
        for rule in found
        if rule["impact"] in ("serious", "critical") and rule["id"] not in EXCEPTIONS
        for node in rule["nodes"]
    ]


def open_tab(page: Any, tab: str) -> None:
    page.get_by_role("tab", name=tab.capitalize()).click()
    page.wait_for_function("Bokeh.documents.every((document) => document.is_idle)")


def test_page__breaks_no_rule_of_axe(page, server, engine):
    page.set_default_timeout(200_000)
    page.emulate_media(reduced_motion="reduce")  # colours change at once with the theme
    open_page(page, server)
    page.get_by_role("figure").wait_for()
    page.get_by_role("button", name="Advanced").click()
    page.get_by_role("textbox", name="Momentum").wait_for()
    assert violations(page) == [], "empty page with all fields of the form"
    run, _ = engine()
    open_page(page, server, run.id)
    page.get_by_text("Change while it trains").wait_for()
    assert violations(page) == [], "live run"
    page.get_by_role("button", name="Close drawer").click()  # its parts have been checked
    page.get_by_role("textbox", name="Epochs").wait_for(state="hidden")
    layer = dict.fromkeys(LAYER_VALUES, 0.5) | dict.fromkeys(("n_in", "n_out", "connections"), 9)
    append_line(run.path / FILE, {"type": "topology", "epoch": 0, "seconds": 1.0, "layers": [layer] * 4})
    for tab in TABS:
        open_tab(page, tab)
        if tab == "connectivity":
            page.get_by_role("region", name="Measures of the topology").wait_for()
        assert violations(page) == [], tab
    request(run, "stop")
    open_tab(page, "connectivity")
    page.evaluate(NOTE_RESTYLED)
    page.get_by_label("Toggle theme").click()
    for tab in sorted(TABS, key=lambda tab: tab != "connectivity"):
        open_tab(page, tab)
        found: list[str] = []

        def is_dark(found: list[str] = found) -> bool:
            found[:] = violations(page, ["color-contrast"])
            return not found

        with contextlib.suppress(AssertionError):
            wait_until(is_dark, what="colours have changed with the theme")
        assert found == [], f"{tab}, dark"
        if tab in ("connectivity", "overview"):  # one was displayed, the other hidden
            wait_until(lambda: page.evaluate(BRIGHTEST) > 220, what=f"figures of {tab} are painted in light colours")
    assert page.evaluate("() => [...window.restyled]") == [], "restyled axes lay out all figures again"


def test_keyboard__start_comes_early_and_fields_show_their_help(page, server):
    open_page(page, server)
    for name in ("Epochs", "Zeta ζ"):
        page.get_by_role("textbox", name=name, exact=True).wait_for()
        page.get_by_role("button", name=f"Increase {name}", exact=True).wait_for()
    stops = []
    while not stops or (len(stops) < 20 and not stops[-1].endswith("Start")):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(FOCUSED))
    assert stops[0] == "Skip to the results"
    assert len(stops) <= 6, stops
    for _ in ("Race", "Data set"):
        page.keyboard.press("Tab")
    page.get_by_role("tooltip", name="Choosing one loads").first.wait_for()
    page.keyboard.press("Escape")
    wait_until(lambda: not page.get_by_role("tooltip").count(), what="the help is closed")
    page.get_by_role("button", name="Skip to the results").press("Enter")
    assert page.get_by_role("main").evaluate("(main) => main.matches(':focus')")


def test_layout__nothing_leaves_a_narrow_page(page, server):
    page.set_default_timeout(200_000)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(server.url)
    page.get_by_role("figure").wait_for()
    wait_until(lambda: page.evaluate(TOO_WIDE) == [], what="the picture is in its card")
    run = fake_engine.finished_run(server.store, {"data.name": "fashion_mnist", "training.epochs": 12}, 12)
    open_page(page, server, run.id)
    for width, tabs in ((820, ("runs", "overview")), (390, TABS)):
        page.set_viewport_size({"width": width, "height": 844})
        page.get_by_role("button", name="Open drawer").wait_for()
        for tab in tabs:
            open_tab(page, tab)
            wait_until(lambda: page.evaluate(TOO_WIDE) == [], what=f"{tab} fits into {width} pixels")
