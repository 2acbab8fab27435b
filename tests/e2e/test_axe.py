"""Accessibility of every tab, checked by axe-core; operation by keyboard; narrow pages."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from pages.address import TABS

from tests.support import fake_engine
from tests.support.dashboard import open_page
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(600), pytest.mark.compiled]

#: Rules of axe-core that the page may break, and why. None at present.
EXCEPTIONS: dict[str, str] = {}
#: The levels A and AA of WCAG 2.1.
LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
#: Cards and the main part that are wider than the page.
TOO_WIDE = """() => {
    const wide = []
    const visit = (root) => {
        for (const element of root.querySelectorAll("*")) {
            const style = getComputedStyle(element), box = element.getBoundingClientRect()
            const card = style.borderRadius === "8px" && box.width > 0
            if (card && box.right > innerWidth + 1) wide.push(`card to ${box.right}: ${element.className}`)
            if (element.matches(".main-content") && element.scrollWidth > element.clientWidth + 1) wide.push("main")
            if (element.shadowRoot) visit(element.shadowRoot)
        }
    }
    visit(document)
    return wide
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
    for tab in ("network", "neurons", "errors", "runs"):  # each has a kind of element that no other tab has
        open_tab(page, tab)
        assert violations(page) == [], tab
    page.get_by_label("Toggle theme").click()
    open_tab(page, "overview")
    found: list[str] = []

    def is_dark() -> bool:
        found[:] = violations(page, ["color-contrast"])
        return not found

    with contextlib.suppress(AssertionError):
        wait_until(is_dark, 20, "colours have changed with the theme")
    assert found == [], "dark"


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
    run = fake_engine.finished_run(server.store, {"data.name": "fashion_mnist", "training.epochs": 12}, 12)
    open_page(page, server, run.id)
    for width, tabs in ((820, ("runs", "overview")), (390, TABS)):
        page.set_viewport_size({"width": width, "height": 844})
        page.get_by_role("button", name="Open drawer").wait_for()
        for tab in tabs:
            open_tab(page, tab)
            wait_until(lambda: page.evaluate(TOO_WIDE) == [], 10, f"{tab} fits into {width} pixels")
