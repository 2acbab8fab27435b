"""Cost of a run against that of the dense network with the same layers: connections, multiplications, memory, time."""

from __future__ import annotations

import time
from html import escape
from itertools import pairwise
from typing import NamedTuple

from tsnn.engine.memory import memory_estimate
from tsnn.jobs.duration import dense_seconds
from tsnn.runs import RunStore
from tsnn.runs.catalog import catalog
from tsnn.runs.checks import is_count
from tsnn.views.history import COMPARED_SECONDS
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots import palette

_STYLE = """<style>
.cost {display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 6px 24px; margin: 4px 0 8px;
       font-size: 12px; line-height: 1.3}
.cost .own, .cost .dense {height: 4px; border-radius: 2px; margin: 2px 0}
.cost .own {background: #0072B2; min-width: 2px}
.cost .dense {background: color-mix(in srgb, currentColor 30%, transparent)}
.cost span {opacity: .75}
</style>"""
_LOOK_SECONDS = 10.0  # between two looks for dense runs


class Cost(NamedTuple):
    """One kind of cost of a run and of the dense network, with both as text."""

    name: str
    own: float
    dense: float
    own_text: str
    dense_text: str


def multiplications(connections: list[int]) -> int:
    """Return the multiplications of weights for one training sample: forward, gradient and errors of each layer.

    Errors are not propagated to the inputs.
    """
    return 3 * sum(connections) - connections[0]


class CostGauge:
    """Bars of the cost of a run and of the dense network with the same layers.

    The memory of both is estimated: that of a process also depends on what it compiled and how it read its data. The
    time of the dense network is measured by a dense run on the same data on this machine, else estimated from other
    dense runs, else not displayed.
    """

    def __init__(self, follower: RunFollower):
        self._follower = follower
        self._dense_seconds: tuple[float, bool] | None = None
        self._looked = -float("inf")

    def html(self) -> str:
        """Return the bars; empty for a dense run, and while the layers are unknown."""
        gauges = "".join(map(_gauge, self.costs()))
        return f"{_STYLE}<div class='cost'>{gauges}</div>" if gauges else ""

    def costs(self) -> list[Cost]:
        """Return the costs known so far."""
        follower, sizes = self._follower, self._follower.sizes
        own = self._connections()
        dense = [a * b for a, b in pairwise(sizes)]
        if not own or len(own) != len(dense) or not sum(own) < sum(dense):
            return []
        costs = [
            Cost("connections", sum(own), sum(dense), palette.count(sum(own)), palette.count(sum(dense))),
            Cost("multiplications", multiplications(own), multiplications(dense),
                 f"{palette.count(multiplications(own))} per sample", palette.count(multiplications(dense))),
        ]  # fmt: skip
        if is_count(memory := follower.meta.get("memory", {}).get("expected")) and memory:
            expected = self._dense_memory(sizes)
            costs.append(Cost("memory", memory, expected, f"about {_mebibytes(memory)}", _mebibytes(expected)))
        return [*costs, *self._time(sum(dense))]

    def _connections(self) -> list[int]:
        """Return the connections of each layer now."""
        history = self._follower.history
        known = [history.last(f"connections_{l}") for l in range(history.layers)]
        if known and None not in known:
            return [int(n or 0) for n in known]
        return [int(n) for n in self._follower.meta.get("network", {}).get("connections") or ()]

    def _dense_memory(self, sizes: list[int]) -> int:
        meta, config = self._follower.meta, self._follower.config
        items = meta.get("memory", {}).get("items", {})
        samples = sum(int(meta.get("data", {}).get(f"n_{part}") or 0) for part in ("train", "test", "validation"))
        config = config.replace({"training.method": "dense", "network.hidden": tuple(sizes[1:-1])})
        return memory_estimate(config, sizes[0], sizes[-1], samples, data_bytes=items.get("data"),
                               processes=1 + config.parallel.workers).total  # fmt: skip

    def _time(self, dense: int) -> list[Cost]:
        """Return the time of the epochs so far, if that of as many dense ones is known."""
        history = self._follower.history
        if not history.done or not (samples := (history.last("samples") or 0.0) / history.done):
            return []
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._looked = time.monotonic()
            store = RunStore(self._follower.run.path.parent)
            self._dense_seconds = dense_seconds(store, catalog(store).summaries(), connections=dense, samples=samples,
                                                data=self._follower.config.data.name)  # fmt: skip
        if self._dense_seconds is None:
            return []
        seconds, measured = self._dense_seconds
        own = history.done * float(sum(history[name].mean() for name in COMPARED_SECONDS))
        total = seconds * history.done
        about = "" if measured else "about "
        return [Cost("time", own, total, palette.duration(own), f"{about}{palette.duration(total)}")]


def _mebibytes(count: float) -> str:
    return f"{count / 2**20:,.0f} MiB"


def _gauge(cost: Cost) -> str:
    most = max(cost.own, cost.dense)
    fraction = palette.small_percent(cost.own / cost.dense)
    text = f"{cost.name}: {cost.own_text}, {fraction} of {cost.dense_text} for the dense network"
    bars = "".join(f"<div class='{kind}' style='width:{100 * value / most:.1f}%'></div>"
                   for kind, value in (("own", cost.own), ("dense", cost.dense)))  # fmt: skip
    return (
        f"<div role='img' aria-label='{escape(text, quote=True)}' title='{escape(text, quote=True)}'>"
        f"<b>{escape(fraction)}</b> of the dense {escape(cost.name)}{bars}"
        f"<span>{escape(cost.own_text)}; dense {escape(cost.dense_text)}</span></div>"
    )
