"""Estimate of a new run before it starts: layers, connections, memory, time."""

from __future__ import annotations

from collections.abc import Iterable

from pages.theme import html
from tsnn.config import Config
from tsnn.datasets import DatasetInfo
from tsnn.engine.memory import memory_estimate
from tsnn.engine.shapes import layer_shapes
from tsnn.jobs.duration import seconds_per_connection, trial_summaries
from tsnn.runs import RunStore
from tsnn.runs.catalog import catalog
from tsnn.runs.summaries import RunSummary
from tsnn.views.plots import palette

_TABLE = "width:100%;border-collapse:collapse;font-size:12px;font-variant-numeric:tabular-nums"
_MAX_LAYERS = 6


def network_estimate(config: Config, info: DatasetInfo | None, store: RunStore) -> str:
    """Return the layers, memory and time of a run as HTML.

    Parameters
    ----------
    config : Config
        Its settings.
    info : DatasetInfo or None
        The shape of its data; None if it is unknown.
    store : RunStore
        Earlier runs, by which the time is estimated.
    """
    if info is None or info.n_classes is None:
        return html("The layers appear here once the file has been read.", "font-size:13px;opacity:.75")
    shapes = layer_shapes(info.n_features, info.n_classes, config)
    total, dense = sum(n for _, _, n in shapes), sum(a * b for a, b, _ in shapes)
    rows = "".join(
        f"<tr><td>{a:,} → {b:,}</td><td style='text-align:right'>{n:,}</td>"
        f"<td style='text-align:right'>{palette.small_percent(n / a / b)}</td></tr>"
        for a, b, n in shapes[:_MAX_LAYERS]
    )
    more = "" if len(shapes) <= _MAX_LAYERS else f"<tr><td>… {len(shapes)} layers</td></tr>"
    muted = "opacity:.7;font-weight:400"
    return html(
        f"<table style='{_TABLE}'><tr><th style='text-align:left;{muted}'>layer</th>"
        f"<th style='text-align:right;{muted}'>connections</th><th style='text-align:right;{muted}'>density</th>"
        f"</tr>{rows}{more}</table><div style='font-size:13px;margin-top:4px'><b>{total:,} connections</b>, "
        f"{palette.small_percent(total / dense)} of a dense network's {dense:,}. "
        f"Takes about {memory_text(memory_bytes(config, info))} of memory. {_time(config, info, total, store)}</div>"
    )


def _time(config: Config, info: DatasetInfo, connections: int, store: RunStore) -> str:
    """Estimate the time of a run from earlier runs on this machine, as text."""

    def measured(summaries: Iterable[RunSummary]) -> float | None:
        return seconds_per_connection(store, summaries, connections=connections, method=config.training.method)

    speed = measured(catalog(store).summaries())
    if speed is None and (speed := measured(trial_summaries(store))) is None:
        return "No time estimate yet: no earlier run of about this size."
    seconds = speed * connections * samples(config, info)[0]
    total = palette.duration(seconds * config.training.epochs)
    return f"Takes about {total}, {palette.duration(seconds)} per epoch, estimated from earlier runs."


def samples(config: Config, info: DatasetInfo) -> tuple[int, int]:
    """Return the number of samples for training and for testing."""
    if config.data.size in info.sizes:
        return info.sizes[config.data.size]
    return info.sizes["full" if "full" in info.local or "small" not in info.sizes else "small"]


def memory_bytes(config: Config, info: DatasetInfo) -> int:
    """Estimate the memory of a run."""
    estimate = memory_estimate(
        config, info.n_features, info.n_classes or 1, sum(samples(config, info)),
        data_bytes=0 if info.on_demand else None, processes=1 + config.parallel.workers,
    )  # fmt: skip
    return int(estimate.total)


def memory_text(size: float) -> str:
    """Return a number of bytes as text."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
