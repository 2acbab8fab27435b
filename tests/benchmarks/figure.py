"""A figure with curves as a PNG file, drawn by Bokeh in a browser without window."""

from pathlib import Path

from bokeh.embed import file_html
from bokeh.resources import INLINE
from playwright.sync_api import sync_playwright

from tests.support.dashboard import chromium
from tsnn.views.plots.charts import curves

SIZE = {"width": 900, "height": 520}


def write_figure(path: Path, title, x_label, y_label, series, lowest):
    """Write a figure with a logarithmic horizontal axis; ``series`` holds (x, y) by label."""
    figure = curves(title, x_label, y_label, series, log="x")
    figure.y_range.start = lowest
    figure.update(**SIZE, sizing_mode="fixed", toolbar_location=None)
    for legend in figure.legend:
        legend.ncols = 3
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        if browser is None:
            raise SystemExit("The figure is drawn by Chromium, which is not installed.")
        page = browser.new_page(viewport=SIZE)
        page.set_content(file_html(figure, INLINE, title))
        page.wait_for_function("Bokeh.documents.length && Bokeh.documents[0].is_idle")
        page.screenshot(path=path)
        browser.close()
