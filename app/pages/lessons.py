"""Lessons: text files with a question, the runs that answer it, and an explanation with the measured values.

``README.md`` describes the files. They are in ``lessons/``, and in the folder of the environment variable TSNN_LESSONS.
"""

from __future__ import annotations

import math
import os
import string
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tsnn.config import Config
from tsnn.errors import ConfigError, TsnnError
from tsnn.files import read_bounded
from tsnn.runs import Run
from tsnn.runs.results import result
from tsnn.views.plots import palette
from tsnn.views.tabs.race import MAX_LANES

#: Environment variable: a folder with further lessons.
LESSONS = "TSNN_LESSONS"
_OWN = Path(__file__).parents[1] / "lessons"
_KEYS = {"title", "order", "settings", "runs", "predict", "explain"}
_BORDER = 3  # pixels


@dataclass(frozen=True)
class Choice:
    """An answer, and when it is right: a range of the measured value, or the run with the largest one."""

    text: str
    at_least: float = -float("inf")
    below: float = float("inf")
    best: str = ""


@dataclass(frozen=True)
class Lesson:
    """A question, and the runs that answer it.

    Attributes
    ----------
    name, title : str
        Name of the file, without its suffix; title.
    order : float
        Place in the list.
    configs : mapping of str to Config
        Settings of the runs.
    question, explanation : str
        The explanation has ``$RUN_MEASURE`` for measured values.
    measure, run, minus : str
        The measured value, of which run, minus that of which run if any.
    choices : tuple of Choice
        Answers; none if a value is asked for.
    value : (float, float, float)
        Start, end and step of that value.
    """

    name: str
    title: str
    order: float
    configs: Mapping[str, Config]
    question: str
    explanation: tuple[str, ...]
    measure: str
    run: str
    minus: str
    choices: tuple[Choice, ...]
    value: tuple[float, float, float]

    def measured(self, outcomes: Outcomes) -> float:
        """Return the value that was asked for."""
        value = outcomes[self.run][self.measure]
        return value - outcomes[self.minus][self.measure] if self.minus else value

    def right(self, outcomes: Outcomes) -> Choice | None:
        """Return the choice that is right by the results; None if a value was asked for."""
        best = max(outcomes, key=lambda name: outcomes[name][self.measure])
        for choice in self.choices:
            if choice.best == best if choice.best else choice.at_least <= self.measured(outcomes) < choice.below:
                return choice
        return None

    def explain(self, outcomes: Outcomes) -> list[str]:
        """Return the paragraphs of the explanation, with the measured values."""
        values = {
            f"{name}_{measure}": format_measure(measure, value)
            for name, values in outcomes.items()
            for measure, value in values.items()
        }
        return [string.Template(paragraph).substitute(values) for paragraph in self.explanation]


#: Measured values by run and name.
Outcomes = Mapping[str, Mapping[str, float]]
_FORMATS: dict[str, Callable[[float], str]] = {
    "accuracy": lambda value: f"{value:.1f}",  # per cent
    "connections": palette.count,
    "seconds": palette.duration,
    "centre": lambda value: f"{value:.1f}",
}


def format_measure(measure: str, value: float) -> str:
    """Return the text of a measured value."""
    return _FORMATS[measure](value)


def outcome(run: Run) -> dict[str, float]:
    """Return the measured values of a finished run; those that it does not have are NaN.

    ``accuracy`` in per cent, ``connections``, ``seconds`` of training, and ``centre``: the connections of a pixel in
    the central half of an image over those of a pixel at its border.
    """
    r = result(run)
    values = {"accuracy": r.test_accuracy, "connections": r.connections, "seconds": r.seconds}
    known = {name: math.nan if value is None else float(value) for name, value in values.items()}
    return {**known, "accuracy": 100 * known["accuracy"], "centre": _centre(run)}


def _centre(run: Run) -> float:
    shape: list[int] = run.meta().get("data", {}).get("image_shape") or []
    epochs = run.snapshot_epochs()
    if len(shape) != 2 or min(shape) <= 4 * _BORDER or not epochs:
        return math.nan
    degree = run.snapshot(epochs[-1], None, ("input_degree",)).input_degree
    if degree is None or len(degree) != math.prod(shape):
        return math.nan
    image = np.asarray(degree, np.float64).reshape(shape)
    height, width = shape
    border = np.ones(shape, bool)
    border[_BORDER:-_BORDER, _BORDER:-_BORDER] = False
    centre = image[height // 4 : -(height // 4), width // 4 : -(width // 4)]
    return float(centre.mean() / max(image[border].mean(), 1e-9))


def known_lessons() -> tuple[dict[str, Lesson], list[str]]:
    """Return the lessons by name, in order, and the problems of files that cannot be read."""
    folders = [_OWN, *([Path(own).expanduser()] if (own := os.environ.get(LESSONS)) else [])]
    found, problems = {}, []
    for path in (path for folder in folders for path in sorted(folder.glob("*.toml"))):
        try:
            found[path.stem] = read_lesson(path)
        except (TsnnError, OSError) as error:
            problems.append(f"Lesson {path.name}: {error}")
    return dict(sorted(found.items(), key=lambda item: item[1].order)), problems


def read_lesson(path: Path) -> Lesson:
    """Read a lesson.

    Raises
    ------
    ConfigError
        If the file is not as expected; the message names what is wrong.
    """
    try:
        return _lesson(path.stem, tomllib.loads(read_bounded(path).decode()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        missing = isinstance(error, KeyError)
        raise ConfigError(f"{error} is missing." if missing else f"it cannot be read: {error}") from error


def _lesson(name: str, table: Mapping[str, Any]) -> Lesson:
    runs, predict = table["runs"], table["predict"]
    if unknown := sorted(set(table) - _KEYS):
        raise ConfigError(f"unknown entry {unknown[0]!r}; expected {', '.join(sorted(_KEYS))}.")
    if not 1 <= len(runs) <= MAX_LANES:
        raise ConfigError(f"it has {len(runs)} runs; expected 1 to {MAX_LANES}.")
    configs = {}
    for key, run in runs.items():
        settings = {**table.get("settings", {}), **run.get("settings", {})}
        configs[key] = Config.preset(str(settings.pop("data.name"))).replace(settings)
    value = predict.get("value", {})
    lesson = Lesson(
        name=name, title=str(table["title"]), order=float(table.get("order", 100)),
        configs=configs, question=str(predict["question"]), explanation=tuple(map(str, table["explain"]["text"])),
        measure=str(predict.get("measure", "accuracy")), run=str(predict.get("run", next(iter(runs)))),
        minus=str(predict.get("minus", "")), choices=tuple(Choice(**choice) for choice in predict.get("choices", ())),
        value=(float(value.get("start", 0)), float(value.get("end", 100)), float(value.get("step", 1))),
    )  # fmt: skip
    named = {lesson.run, *filter(None, (lesson.minus, *(choice.best for choice in lesson.choices)))}
    if unknown := sorted(named - set(runs)):
        raise ConfigError(f"there is no run {unknown[0]!r}; its runs are {', '.join(runs)}.")
    if lesson.measure not in _FORMATS:
        raise ConfigError(f"measure is {lesson.measure!r}; expected one of {', '.join(_FORMATS)}.")
    lesson.explain({key: dict.fromkeys(_FORMATS, 0.0) for key in runs})  # raises an error for an unknown name
    return lesson
