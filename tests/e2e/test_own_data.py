"""A file of one's own in a browser: upload, preview, target, start; broken files and strangers' names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.dashboard import Server, badge, fill, open_page
from tests.support.waiting import wait_until
from tsnn.runs.features import feature_names

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(600), pytest.mark.compiled]

EVIL = '<img src=x onerror="document.title=1">'


def table(rows: int = 60, cell: str = "0.5") -> bytes:
    """Return a table whose columns and labels are HTML; one of its cells is given."""
    lines = (
        f"{i * 37 % 11}.5,{cell if i == 7 else f'{i % 5}.25'},<b>{'ab'[i % 2]}</b>,{'xyz'[i % 3]}" for i in range(rows)
    )
    return "\n".join([f"{EVIL},size,kind,group", *lines]).encode()


def drop(page: Any, name: str, content: bytes) -> None:
    """Choose a file of one's own and give it to the page."""
    field = page.locator("input[type=file]")
    if not page.get_by_text("or browse").is_visible():
        page.get_by_role("combobox").first.click()
        page.get_by_text("A file of your own").last.click()
        page.get_by_text("or browse").wait_for()
    field.set_input_files({"name": name, "mimeType": "text/csv", "buffer": content})


def stored(server: Server) -> list[str]:
    return sorted(path.name for path in (server.runs / "uploads").iterdir())


def test_upload__trains_with_the_names_of_the_file(page: Any, server: Server) -> None:
    open_page(page, server)
    drop(page, "../../my table.csv", table())
    page.get_by_text("Stored as my_table.csv.").wait_for()
    page.get_by_text("First rows").wait_for()
    assert stored(server) == ["my_table.csv"]
    assert [path.name for path in server.runs.parent.glob("*.csv")] == []
    target = page.get_by_role("combobox", name=re.compile("^Target"))
    target.click()
    page.get_by_role("option", name="kind").click()
    page.get_by_text("target: column 'kind'").wait_for()
    page.get_by_text("<b>a</b>").first.wait_for()
    page.get_by_text("Suggested for 40 samples").wait_for()
    wait_until(lambda: page.get_by_role("textbox", name="Hidden layers").input_value() == "256-256", what="settings")
    fill(page, "Epochs", "3")
    page.get_by_role("button", name="Start", exact=True).click()
    run = wait_until(server.store.list, what="a run directory")[0]
    badge(page, "finished").wait_for(timeout=300_000)
    data = run.meta()["data"]
    assert feature_names(run) == (EVIL, "size", "group=x", "group=y", "group=z")
    assert (data["class_names"], data["target"]) == (["<b>a</b>", "<b>b</b>"], "kind")
    assert Path(run.config().data.name) == server.runs.resolve() / "uploads" / "my_table.csv"
    assert page.get_by_text("First rows").is_hidden(), "the run is displayed instead"
    page.get_by_role("tab", name="Connectivity").click()
    page.get_by_role("gridcell", name=EVIL).wait_for()
    assert page.title() == "✓ 3/3 tsnn", "a name of the file was run as a script"


def test_upload__broken_files_are_explained_and_not_started(page: Any, server: Server) -> None:
    open_page(page, server)
    drop(page, "table.csv", table(cell="broken"))
    page.get_by_text("row 7 of column 'size' holds 'broken'").first.wait_for()
    page.get_by_role("button", name="Start", exact=True).click()
    wait_until(lambda: page.get_by_role("alert").filter(has_text="holds 'broken'").count() == 2, what="it is refused")
    drop(page, "table.csv", table())
    page.get_by_text("Stored as table-2.csv: another file is called table.csv.").wait_for()
    page.get_by_text("the most frequent class").wait_for()
    assert page.get_by_role("alert").filter(has_text="holds 'broken'").count() == 0
    drop(page, "run.sh", b"rm -rf /")
    page.get_by_text("'run.sh' is no file that can be read").wait_for()
    assert stored(server) == ["table-2.csv", "table.csv"]
    assert server.store.list() == []
