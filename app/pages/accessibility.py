"""Accessibility of the page: names, roles and keys that its components lack and offer no options for.

Added in the browser:

- Number fields: names of - and +, which are no tab stops, because the arrow keys do the same.
- Help of a field: its description, not a part of its name; shown while the field has the focus by the keyboard.
- Selections: opened by Enter, Space or the down arrow.
- Tables: roles of the parts around the rows, so that pager and scrolling do not break the table.
- Plots: the named figure is the tab stop, not a nameless part of it.
- Header: a button, the first of all, that leads to the results; the title is the first heading.
- Motion: none where the system asks for less.
"""

from __future__ import annotations

from typing import Any

import panel as pn

_SKIP = """position: fixed; left: 8px; z-index: 3000; padding: 10px 16px; border-radius: 4px; border: 0; color: #fff;
    background: #0072B2; font: 500 15px var(--bokeh-base-font, sans-serif); cursor: pointer"""
_STILL = """*, ::before, ::after {animation-duration: 1ms !important; animation-iteration-count: 1 !important;
    transition-duration: 1ms !important; scroll-behavior: auto !important}"""
#: ``watch`` visits all elements of a tree, also those that come later, and enters their shadow trees.
_SCRIPT = """
if (!window.tsnnWatches) {
    window.tsnnWatches = true
    const still = new CSSStyleSheet()
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) still.replaceSync(`STILL`)
    const help = "label svg"
    const field = ".MuiFormControl-root, .MuiFormControlLabel-root"
    const control = "[role=combobox], input:not([aria-hidden=true]), textarea"
    const roles = {
        ".tabulator-tableholder": "rowgroup", ".tabulator-table": "none", ".tabulator-footer": "row",
        ".tabulator-footer-contents": "gridcell", "[aria-label='Resize sidebar']": "separator",
    }
    let byKeyboard = false, opened = null

    function mend(element) {
        if (element.matches(".MuiInputAdornment-root > .MuiIconButton-root") && !element.ariaLabel) {
            const label = element.closest(field)?.querySelector("label")?.textContent ?? ""
            const less = element.parentNode.matches(".MuiInputAdornment-positionStart")
            element.ariaLabel = label ? `${less ? "Decrease" : "Increase"} ${label}` : "Clear"
            element.tabIndex = -1
        } else if (element.matches(`${help} + span[aria-label]`)) {
            const target = element.closest(field)?.querySelector(control)
            if (target) target.ariaDescription = element.ariaLabel
            element.removeAttribute("aria-label")
        } else if (element.matches("header .title")) {
            element.role = "heading"
            element.ariaLevel = "1"
        } else if (element.matches("header")) {
            const skip = document.createElement("button")
            skip.textContent = "Skip to the results"
            skip.style.cssText = `SKIP`
            skip.onfocus = () => { skip.style.top = "8px" }
            skip.onblur = () => { skip.style.top = "-80px" }
            skip.onblur()
            skip.onclick = () => {
                const main = element.getRootNode().querySelector("main")
                main.tabIndex = -1
                main.focus()
            }
            element.prepend(skip)
        } else if (element.matches(".MuiDrawer-paper[role=dialog]")) {
            element.ariaLabel = "New run"
        } else if (element.matches(".MuiToolbar-root > h5")) {
            element.style.display = "none"  // it is empty
        } else if (element.matches(".bk-tooltip-row-label")) {
            element.style.setProperty("color", "inherit", "important")
        } else if (element.matches(".bk-events")) {
            element.tabIndex = -1
        } else {
            for (const [part, role] of Object.entries(roles)) if (element.matches(part)) element.role = role
        }
    }

    function visit(node) {
        if (node.nodeType != Node.ELEMENT_NODE) return
        for (const element of [node, ...node.querySelectorAll("*")]) {
            mend(element)
            if (element.shadowRoot) watch(element.shadowRoot)
        }
    }

    const watched = new WeakSet()
    function watch(root) {
        if (watched.has(root)) return
        watched.add(root)
        root.addEventListener("focusin", focused)  // in each tree: it does not leave one within which the focus moves
        if (still.cssRules.length) root.adoptedStyleSheets = [...root.adoptedStyleSheets, still]
        new MutationObserver((records) => records.forEach((record) => record.addedNodes.forEach(visit)))
            .observe(root, {childList: true, subtree: true})
        for (const child of root.children) visit(child)
    }

    const attach = Element.prototype.attachShadow
    Element.prototype.attachShadow = function (options) {
        const root = attach.call(this, options)
        watch(root)
        return root
    }

    function show(icon) {
        if (opened === icon) return
        opened?.dispatchEvent(new FocusEvent("focusout", {bubbles: true}))
        icon?.dispatchEvent(new FocusEvent("focusin", {bubbles: true}))
        opened = icon
    }
    function focused(event) {
        const at = event.composedPath()[0]
        if (event.isTrusted) show(byKeyboard && at.ariaDescription ? at.closest(field)?.querySelector(help) : null)
    }
    document.addEventListener("pointerdown", () => { byKeyboard = false }, true)
    document.addEventListener("keydown", (event) => {
        const at = event.composedPath()[0]
        byKeyboard = true
        if (event.key == "Escape") show(null)
        const opens = ["Enter", " ", "ArrowDown"].includes(event.key)
        if (opens && at.matches("div[role=combobox]:not([aria-expanded=true])")) at.click()
    })
    watch(document)
}
""".replace("SKIP", _SKIP).replace("STILL", _STILL)


def accessibility() -> Any:
    """Return the invisible part of a page that makes it accessible."""
    return pn.pane.HTML(f"<script>{_SCRIPT}</script>", width=0, height=0, margin=0)
