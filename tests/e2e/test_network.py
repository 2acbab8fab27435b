"""The drawing of the network in a browser: timeline, pointer, slow motion, welcome page."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import fake_engine
from tests.support.dashboard import await_drawn, badge, open_page
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(600), pytest.mark.compiled]

SETTINGS = {"data.name": "fashion_mnist", "training.epochs": 12}
PER_EPOCH = 4 * fake_engine.REPLACED
#: What the drawing holds: title, text alternative, connections by look, those lit up, the place of a neuron.
DRAWING = """() => {
    for (const document of Bokeh.documents)
        for (const model of document.all_models)
            if (model.type == "Figure" && model.title.text.match(/^Epoch |^[123][.] /)) {
                const edges = model.renderers.filter((r) => r.data_source.data.then !== undefined)
                const fan = model.renderers.find((r) => r.data_source.data.color !== undefined)
                const neurons = model.renderers.find((r) => r.data_source.data.name !== undefined)
                const view = Bokeh.index.find_one(model)
                const box = view?.el.getBoundingClientRect()
                if (!box?.width) continue  // that of another card
                const at = (i) => [
                    box.x + view.frame.x_scale.compute(neurons.data_source.data.x[i]),
                    box.y + view.frame.y_scale.compute(neurons.data_source.data.y[i])]
                return {
                    title: model.title.text, role: view.el.getAttribute("role"),
                    said: view.el.getAttribute("aria-label"),
                    edges: edges.map((r) => r.data_source.data.x0.length), muted: edges.map((r) => r.muted),
                    alpha: edges.map((r) => r.data_source.data.alpha[0]), fan: fan.data_source.data.x0.length,
                    fifth: at(5), name: neurons.data_source.data.name[5],
                }
            }
    return null
}"""


def drawing(page: Any) -> dict[str, Any]:
    """Return the state of the drawing; an empty dictionary without one."""
    return page.evaluate(DRAWING) or {}


def open_network(page: Any, server: Any, **settings: Any) -> Any:
    run = fake_engine.finished_run(server.store, {**SETTINGS, **settings}, 12)
    page.goto(f"{server.url}?run={run.id}&tab=network")
    await_drawn(page)
    wait_until(lambda: "→ 12:" in drawing(page).get("title", ""), what="the newest snapshot is drawn")
    return run


def test_network__moves_with_the_timeline(page, server):
    open_network(page, server)
    drawn = drawing(page)
    assert drawn["edges"] == [4 * (fake_engine.EDGES - fake_engine.REPLACED), PER_EPOCH, PER_EPOCH]
    assert drawn["role"] == "figure"
    assert f"{PER_EPOCH} pruned, {PER_EPOCH} regrown since epoch 11" in drawn["said"]
    page.get_by_role("slider", name="Snapshot").press("Home")
    wait_until(lambda: "Epoch 0:" in drawing(page)["title"], what="the first snapshot is drawn")
    assert drawing(page)["edges"] == [4 * fake_engine.EDGES, 0, 0]
    page.get_by_role("button", name="Next snapshot").click()
    wait_until(lambda: drawing(page)["title"].startswith("Epoch 0 → "), what="the next one")


def test_network__pointer_lights_up_the_fan_of_a_neuron(page, server):
    open_network(page, server)

    def point() -> dict[str, Any]:
        """Point at the neuron, also where the page has just moved it."""
        x, y = drawing(page)["fifth"]
        page.mouse.move(x + 1, y)
        page.mouse.move(x, y)
        now = drawing(page)
        return now if now["fan"] else {}

    drawn = wait_until(point, what="its connections light up")
    page.get_by_text("Layer 1, neuron 5: fan-in 5, fan-out 5").wait_for()
    assert drawn["muted"] == [True] * 3, "the others fade"
    page.mouse.move(5, 5)
    wait_until(lambda: drawing(page)["muted"] == [False] * 3, what="all are back")
    assert drawing(page)["fan"] == 0


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_network__slow_motion_prunes_regrows_and_trains(page, server, motion):
    page.emulate_media(reduced_motion=motion)
    open_network(page, server)
    page.get_by_role("slider", name="Snapshot").press("ArrowLeft")
    wait_until(lambda: "→ 11:" in drawing(page)["title"], what="the one before the last")
    title, alpha = drawing(page)["title"], drawing(page)["alpha"]
    page.get_by_role("button", name="Slow motion").click()
    for phase in ("1. Prune: 40 weak", "2. Regrow: 40 new", "3. Train: the weights change until epoch 12"):
        wait_until(lambda phase=phase: drawing(page)["title"].startswith(phase), what=phase)
    if motion == "reduce":
        assert drawing(page)["alpha"][1] == 0, "pruned connections are gone"
    wait_until(lambda: drawing(page)["title"] == title, what="the end")
    assert drawing(page)["alpha"] == alpha


def test_welcome__plays_a_recording_and_trains_the_digits(page, server):
    open_page(page, server)
    first = wait_until(lambda: drawing(page).get("title"), what="the recording is drawn")
    wait_until(lambda: drawing(page)["title"] != first, what="it plays")
    page.get_by_role("button", name="Train the digits").click()
    badge(page, "finished").wait_for(timeout=300_000)
    wait_until(lambda: "→ 100:" in drawing(page).get("title", ""), what="its network is drawn")
    assert drawing(page)["edges"][0] > 500
