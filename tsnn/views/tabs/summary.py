"""Summary of a run above its tabs: state, progress, main numbers, as HTML. Text from files is escaped."""

from __future__ import annotations

from html import escape
from itertools import pairwise
from pathlib import Path

from tsnn.config import describe
from tsnn.records import EventKind, RunState, accuracy_name
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots import palette

STYLE = """
.head {font-family: var(--bokeh-base-font, sans-serif); line-height: 1.35; font-variant-numeric: tabular-nums}
.head .line {display: flex; flex-wrap: wrap; align-items: center; gap: 4px 12px}
.head .badge {border-radius: 10px; padding: 1px 10px; font-size: 12px; font-weight: 700}
.head .id {font-size: 16px; font-weight: 700; overflow-wrap: anywhere}
.head .detail {font-size: 13px; opacity: .75}
.head .tiles {display: flex; flex-wrap: wrap; gap: 6px 24px; margin: 4px 0 6px}
.head .tile b {display: block; font-size: 19px; font-weight: 700; white-space: nowrap}
.head .tile span {font-size: 12px; opacity: .75}
.head .bar {height: 5px; border-radius: 3px; overflow: hidden;
            background: color-mix(in srgb, currentColor 15%, transparent)}
.head .bar div {height: 100%; transition: width .25s linear}
.head .note {font-size: 13px; margin-top: 8px}
.head .note.text {white-space: pre-wrap; max-height: 160px; overflow: auto; border-left: 4px solid #0072B2;
                  padding-left: 10px}
.head .tag {font-size: 12px; border: 1px solid color-mix(in srgb, currentColor 35%, transparent); border-radius: 10px;
            padding: 0 8px}
.head .note.bad {border-left: 4px solid #D55E00; padding-left: 10px}
.head pre {font-size: 12px; max-height: 220px; overflow: auto; padding: 8px; margin: 6px 0 0; white-space: pre-wrap;
           background: color-mix(in srgb, currentColor 8%, transparent); border-radius: 4px}
"""

_STATE_TEXT: dict[str, str] = {
    RunState.QUEUED: "Queued: all cores are busy. Starts automatically.",
    RunState.CREATED: "The engine is starting.",
    RunState.STARTING: "The engine is reading the data.",
    RunState.COMPILING: "Kernels that no run on this machine has needed before are compiled, and kept.",
    RunState.PAUSED: "Paused: nothing is computed. Press Resume to continue.",
    RunState.STALLED: "The process is alive but silent for ten seconds: a long step, or a very busy machine.",
    RunState.LOST: "The process of this run ended without a message: killed, out of memory, or the machine was "
    "restarted. The records up to that moment are shown here.",
}
_BROKEN = (RunState.FAILED, RunState.LOST)
#: States whose message, if there is one, replaces their text.
_OWN_MESSAGE = (RunState.QUEUED, RunState.FAILED, RunState.STOPPED, RunState.FINISHED)
#: States whose text suffices.
_NO_MESSAGE = (RunState.LOST, RunState.TRAINING)


def summary_parts(follower: RunFollower, cost: str = "") -> tuple[str, str]:
    """Return the summary of a run in two parts: state, name and description; progress, main numbers, cost and notes.

    ``cost`` is the HTML of :mod:`tsnn.views.tabs.cost`.
    """
    state = follower.state
    color = palette.STATE_COLORS.get(state, palette.GREY)
    done, total = progress(follower)
    return (
        f"<style>{STYLE}</style><div class='head'><div class='line'>"
        f"<span class='badge' style='background:{color};color:{palette.text_on(color)}'>{escape(state)}</span>"
        f"{_name(follower)}<span class='detail'>{escape(run_description(follower))}</span></div></div>",
        f"<style>{STYLE}</style><div class='head'>"
        f"<div class='tiles'>{''.join(_tile(*tile) for tile in _tiles(follower))}</div>{cost}"
        f"<div class='bar' role='progressbar' aria-label='Progress' aria-valuenow='{100 * done / total:.0f}'>"
        f"<div style='width:{100 * done / total:.2f}%;background:{color}'></div></div>"
        f"{_note(follower)}{_warnings(follower)}{_user_notes(follower)}</div>",
    )


def summary_html(follower: RunFollower) -> str:
    """Return state, name, progress and the main numbers of a run."""
    return "".join(summary_parts(follower))


def _name(follower: RunFollower) -> str:
    """Return the title, else the id of a run; with its tags."""
    title, tags, _ = follower.notes
    name = f"<span class='id' title='{escape(follower.run.id)}'>{escape(title or follower.run.id)}</span>"
    return name + "".join(f"<span class='tag'>{escape(tag)}</span>" for tag in tags)


def _user_notes(follower: RunFollower) -> str:
    text = follower.notes.text
    return f"<div class='note text'>{escape(text)}</div>" if text else ""


def run_description(follower: RunFollower) -> str:
    """Return data set, method, layers and seed in one line."""
    config = follower.config
    data = Path(config.data.name).name + ("" if config.data.size == "auto" else f" ({config.data.size})")
    method = describe("training.method").display_name(config.training.method)
    known = [f"{n:,}" for n in follower.sizes]
    layers = "–".join(known or ["…", *(f"{n:,}" for n in config.network.hidden), "…"])
    fork = follower.meta.get("fork", {})
    trunk = f" · forked from {fork.get('parent')} after epoch {fork['epoch']:,}" if fork.get("epoch") else ""
    return f"{data} · {method} · {layers} · seed {config.run.seed}{trunk}"


def progress(follower: RunFollower) -> tuple[float, int]:
    """Return the finished epochs, with the finished fraction of the current one, and all epochs."""
    status = follower.status
    total = int(status.get("epochs") or follower.config.training.epochs)
    done = float(follower.history.done)
    if follower.live and status.get("samples_total") and int(status.get("epoch", 0)) == follower.history.done:
        done += min(1.0, status.get("samples", 0) / status["samples_total"])
    return min(done, float(total)), max(1, total)


def _tiles(follower: RunFollower) -> list[tuple[str, str]]:
    history = follower.history
    done, total = history.done, progress(follower)[1]
    left = follower.seconds_left()
    tiles = [(f"{done:,} / {total:,}", "epochs" if left is None else f"epochs, {palette.duration(left)} left")]
    tiles += _scores(follower)
    connections = history.last("connections")
    planned = follower.meta.get("network", {}).get("connections") or []
    if connections is None and planned:
        connections = float(sum(planned))
    if connections is not None:
        sizes = follower.sizes
        dense = sum(a * b for a, b in pairwise(sizes))
        density = f", {palette.small_percent(connections / dense)} of dense" if dense else ""
        tiles.append((palette.count(connections), f"connections{density}"))
    if done:
        seconds = sum(history.last(f"seconds_{part}") or 0.0 for part in ("train", "evolve", "evaluate"))
        tiles.append((palette.duration(seconds), "last epoch"))
        samples = (history.last("samples") or 0.0) / (history.last("epoch") or 1.0)
        if train := history.last("seconds_train"):
            tiles.append((palette.count(samples / train), "samples / s"))
        tiles.append((f"{(history.last('memory_bytes') or 0.0) / 2**20:,.0f} MiB", "memory"))
    return tiles


def _scores(follower: RunFollower) -> list[tuple[str, str]]:
    """Return the tiles of the last epoch's results on the test part."""
    history, task = follower.history, str(follower.meta.get("data", {}).get("task"))
    accuracy, r2, loss = (history.last(f"test_{name}") for name in ("accuracy", "r2", "loss"))
    tiles = [] if accuracy is None else [(palette.percent(accuracy), f"test {accuracy_name(task)}")]
    tiles += [] if r2 is None else [(f"{r2:.3f}", "test R²")]
    return tiles if loss is None else [*tiles, (f"{loss:.3f}" if abs(loss) < 1e5 else f"{loss:.4g}", "test loss")]


def _warnings(follower: RunFollower) -> str:
    """Return the warnings about the data."""
    texts = [event.message for event in follower.events if event.kind == EventKind.DATA_WARNING]
    return "".join(f"<div class='note bad'>{escape(f'Warning: {text}')}</div>" for text in texts)


def _tile(value: str, name: str) -> str:
    return f"<div class='tile'><b>{escape(value)}</b><span>{escape(name)}</span></div>"


def _note(follower: RunFollower) -> str:
    text, more = _state_text(follower), _continue_text(follower)
    if more:
        text = f"{text}{'' if text.endswith('.') else '.'} {more}"
    broken = follower.state in (*_BROKEN, RunState.STALLED)
    return f"<div class='note{' bad' if broken else ''}'>{escape(text)}{_log(follower)}</div>" if text else ""


def _state_text(follower: RunFollower) -> str:
    state, message = follower.state, str(follower.status.get("message") or "")
    text = _STATE_TEXT.get(state, "")
    if state == RunState.STOPPED and follower.run.checkpoints():
        return f"Stopped at epoch {follower.run.resumes_from():,}."
    if state in _OWN_MESSAGE:
        return message or text
    return text if state in _NO_MESSAGE or message in text else f"{text} {message}".strip()


def _continue_text(follower: RunFollower) -> str:
    if follower.state not in (*_BROKEN, RunState.STOPPED) or not follower.run.checkpoints():
        return ""
    epoch = "" if follower.state == RunState.STOPPED else f" from epoch {follower.run.resumes_from():,}"
    return f"Press Continue{epoch}, or run: tsnn resume {follower.run.id}"


def _log(follower: RunFollower) -> str:
    if follower.state not in _BROKEN:
        return ""
    end = follower.run.log(2000).strip()
    if follower.state == RunState.FAILED and "Traceback" not in end:  # the message explains the error
        return ""
    return f"<pre>{escape(end)}</pre>" if end else "<div class='detail'>Its log is empty.</div>"
