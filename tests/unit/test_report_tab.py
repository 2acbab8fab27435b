"""Tab Report: links of the reproduction's report lead to its runs; nothing in the file can act on the page."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from urllib.parse import parse_qs

import pytest

pytest.importorskip("panel")

import panel as pn
from pages.dashboard import Dashboard
from pages.report_tab import FILE, ReportTab

from tests.benchmarks import accuracy_tables, density_tables, laboratory, reproduce
from tests.benchmarks.laboratory import Laboratory
from tests.benchmarks.scales import QUICK
from tests.support.sweeps import train
from tsnn.runs import RunStore
from tsnn.runs.sweeps import open_sweep, sweeps

TINY = dataclasses.replace(
    QUICK, seeds=2, epochs=2, dense_epochs=1, density_epochs=1, search=1, dense_search=1, epsilons=(1.0, 20.0)
)
TABLES = {"papers": accuracy_tables.papers, "density": density_tables.density}
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Folder of runs with a report, its text for the repository, and the figures that were drawn for that."""
    folder = tmp_path_factory.mktemp("report")
    drawn, arguments = {}, inspect.signature(reproduce.write_figure)

    def draw(path, **figure):
        arguments.bind(path, **figure)
        drawn[path] = figure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(laboratory, "execute", lambda run: [train(run)])
        patch.setattr(reproduce, "TABLES", TABLES)
        patch.setattr(reproduce, "REPORT", folder / "REPORT.md")
        patch.setattr(reproduce, "write_figure", draw)
        patch.setattr(
            density_tables,
            "EVOLUTION",
            {name: density_tables.EVOLUTION[name] for name in ("GSE", "fixed", "two-phase")},
        )
        store = RunStore(folder / "runs")
        for table in TABLES.values():
            list(table(Laboratory(store, training=True), TINY))
        reproduce.write(store.root, TINY)
    return store, (folder / "REPORT.md").read_text(), drawn


def store_with(folder, content):
    """Folder of runs with a report of any content."""
    store = RunStore(folder)
    (folder / FILE).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return store


def texts(tab):
    """Texts of a tab as HTML."""
    return "".join(part.object for part in tab.layout if isinstance(part, pn.pane.HTML))


def figures(tab):
    return [part.object for part in tab.layout if isinstance(part, pn.pane.Bokeh)]


def shown(store):
    tab = ReportTab(store)
    assert tab.update()
    return tab


def test_write__links_each_accuracy_to_its_sweep_or_run(report):
    store, _, _ = report
    lines = json.loads((store.root / FILE).read_text())["text"].splitlines()
    links = [link for line in lines for link in re.findall(r"\[([\d.]+)( ± [\d.]+)?\]\(\?(\S+)\)", line)]
    assert len(links) == 9 + 2 * (3 + 2) + 1  # the papers', against density, dense
    for accuracy, spread, query in links:
        (place,) = (values := parse_qs(query))["sweep" if spread else "run"]
        runs = [t.run for t in open_sweep(store, place).trials] if spread else [store.open(place)]
        measured = [100 * run.records()[-1].test_accuracy for run in runs]
        assert float(accuracy) == pytest.approx(sum(measured) / len(measured), abs=0.06)
        assert len(runs) == (TINY.seeds if spread else 1)
        assert values.get("tab", [""]) == ["sweep" if spread else ""]


def test_write__keeps_the_report_of_the_repository_without_links(report):
    store, text, drawn = report
    written = json.loads((store.root / FILE).read_text())
    assert "](?" not in text
    assert text == re.sub(r"\[([^]]*)\]\(\?[^)]*\)", r"\1", written["text"]) + "\n"
    assert text.count("`python -m tests.benchmarks.reproduce ") == len(TABLES), "each with its machine"
    assert "](density.png)" in text
    assert {path.name: json.loads(json.dumps(figure)) for path, figure in drawn.items()} == written["figures"]


def test_write__marks_tables_of_earlier_settings():
    command = "`python -m tests.benchmarks.reproduce few`"
    made = f"## Few\n\nDropout 0.\n\n| a |\n|---|\n| 1 |\n\n{command[:-1]}`, 2026-11-30, a machine."
    for now, marked in (
        ("## Few\n\nDropout 0.\n\n| a |\n|---|\n| not run |", False),
        ("## Few\n\nDropout 0.1.\n\n| a |\n|---|\n| not run |", True),
    ):
        found = reproduce._dated(made, now, command)
        assert found.endswith(reproduce.EARLIER) == marked
        assert reproduce._dated(found, now, command) == found
    assert reproduce._dated(made, "## Few\n\nOther.", "`python -m tests.benchmarks.reproduce few --quick`") == made


def test_report__is_taken_for_no_run_or_sweep(report):
    store, _, _ = report
    assert store.list() == []
    assert FILE not in {sweep.id for sweep in sweeps(store)}


def test_report_tab__shows_tables_links_and_the_figure(report):
    store, text, _ = report
    tab = shown(store)
    assert texts(tab).count("<table") == text.count("\n|---") == 2
    written = json.loads((store.root / FILE).read_text())["text"]
    for query in re.findall(r"\]\((\?[^)]*)\)", written):
        assert f"<a href='{query.replace('&', '&amp;')}'>" in texts(tab)
    assert "<th scope='row'>dense, ReLU</th>" in texts(tab)
    assert "<code>fashion_mnist</code>" in texts(tab)
    (figure,) = figures(tab)
    assert {item.label.value for item in figure.legend[0].items} == {
        "GSE",
        "fixed",
        "fixed, own fan-in",
        "two-phase",
        "dense",
    }
    assert not tab.update(), "nothing has changed"


def test_report_tab__reads_a_report_that_has_changed(tmp_path):
    store = store_with(tmp_path, {"text": "## One"})
    tab = shown(store)
    store_with(tmp_path, {"text": "## Another one"})
    assert tab.update()
    assert "<h3>Another one</h3>" in texts(tab)


@pytest.mark.parametrize(("content", "offered"), [({"text": "# Report"}, True), (None, False)])
def test_page__has_the_tab_where_there_is_a_report(tmp_path, content, offered):
    store = RunStore(tmp_path) if content is None else store_with(tmp_path, content)
    page = Dashboard(store)
    page.page()
    assert ("Report" in [item["label"] for item in page.menu.items]) == offered
    page.tab = "report"
    assert not page.tick(), "displayed by the change of the tab"
    assert ("<h2>Report</h2>" if offered else "No report in this folder") in texts(page.many.report)


@pytest.mark.parametrize("block", [EVIL, f"## {EVIL}", f"`{EVIL}`", f"| {EVIL} |\n|---|\n| '\" {EVIL} |"])
def test_report_tab__shows_html_as_text(tmp_path, block):
    tab = shown(store_with(tmp_path, {"text": f"## ' onfocus='alert(1)\n\n{block}\n\n## Last"}))
    assert "<img" not in texts(tab)
    assert "&lt;img src=x onerror=alert(1)&gt;" in texts(tab)
    assert "' onfocus" not in texts(tab)
    assert "<h3>Last</h3>" in texts(tab)


@pytest.mark.parametrize(
    "target",
    ["javascript:alert(1)", "https://example.com", "//example.com", "?x' onclick='alert(1)", '?"><b>', "data:x"],
)
def test_report_tab__links_to_this_page_only(tmp_path, target):
    tab = shown(store_with(tmp_path, {"text": f"[name]({target}) [run](?run=a/trial-00000)"}))
    assert re.findall("<a[^>]*>", texts(tab)) == ["<a href='?run=a/trial-00000'>"]
    assert "<b>" not in texts(tab)


FIGURE = {"title": "t", "x_label": "x", "y_label": "y", "lowest": 80, "series": {"SET": [[1, 2], [85, 90]]}}
PICTURE = "before\n\n![Accuracy](a.png)\n\nafter"


def test_report_tab__takes_names_out_of_figures_that_bokeh_would_read_as_html(tmp_path):
    name = EVIL + "@x{safe}$$"
    values = {**FIGURE, "title": name, "x_label": name, "series": {name: [[1, 2], [85, 90]]}}
    (figure,) = figures(shown(store_with(tmp_path, {"text": PICTURE, "figures": {"a.png": values}})))
    found = [figure.title.text, figure.xaxis[0].axis_label, figure.legend[0].items[0].label.value]
    found += [text for tool in figure.hover for tip in tool.tooltips for text in tip if "alert" in text]
    found += figure.renderers[0].data_source.data["label"][:1]  # that a tooltip shows
    assert len(found) > 4
    assert not [text for text in found if re.search("[<>@$]", text)]


@pytest.mark.parametrize(
    "values",
    [
        None, 7, [], {}, FIGURE | {"series": []}, FIGURE | {"series": {"a": [[1, 2], [1]]}},
        FIGURE | {"series": {"a": "bc"}}, FIGURE | {"series": {"a": [[1], ["b"]]}}, FIGURE | {"series": {"a": [[1]]}},
        FIGURE | {"series": {"a": [[1], [1e300]]}}, FIGURE | {"series": {"a": [[1], [10**400]]}},
        FIGURE | {"series": {str(i): [[1], [1]] for i in range(1000)}}, FIGURE | {"lowest": "low"},
        FIGURE | {"lowest": 1e300}, FIGURE | {"lowest": None},
    ],
    ids=range(15),
)  # fmt: skip
def test_report_tab__shows_the_text_around_a_damaged_figure(tmp_path, values):
    tab = shown(store_with(tmp_path, {"text": PICTURE, "figures": {"a.png": values}}))
    assert figures(tab) == []
    for text in ("before", "Accuracy: the figure is damaged", "after"):
        assert text in texts(tab)


@pytest.mark.parametrize("series", [{}, {"a": [[], []]}, {"a": [[0, -1], [0, -1]]}])
def test_report_tab__draws_a_figure_without_points(tmp_path, series):
    values = FIGURE | {"series": series}
    assert len(figures(shown(store_with(tmp_path, {"text": PICTURE, "figures": {"a.png": values}})))) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[" * 9000,
        b"[1]",
        b"{}",
        b'{"text": 7}',
        b'{"text": "' + 300_000 * b"x" + b'"}',
        b'{"text": "' + 5000 * rb"![a](b.png)\n\n" + b'"}',
    ],
    ids=range(9),
)
def test_page__stays_with_a_damaged_or_large_report(tmp_path, content):
    page = Dashboard(store_with(tmp_path, content))
    page.page()
    page.tab = "report"
    assert f"{FILE} cannot be displayed" in texts(page.many.report)
    page.tab = "runs"
    assert not page.many.report.update()


@pytest.mark.parametrize("text", ["", "|", "| a |\n| b", "||||\n\n|\n|", "# \n##\n", "![](x)", "\n\n![a](b)\n\n"])
def test_report_tab__shows_any_text(tmp_path, text):
    assert texts(shown(store_with(tmp_path, {"text": text, "figures": 3})))
