"""Strip of a lesson above the plots: predict, run, reveal, explain, next. Answers belong to the session alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pages.lessons import Lesson, Outcomes, format_measure, known_lessons, outcome
from pages.theme import CARD, html
from tsnn.errors import TsnnError
from tsnn.jobs.race import find_runs, start_race
from tsnn.records import INTERRUPTED, RunState
from tsnn.runs import RunStore
from tsnn.views.live.browser import after
from tsnn.views.live.follower import RunFollower, follow

STEPS = ("Predict", "Run", "Reveal", "Explain")
#: Label of the button at each step.
_ACTIONS = ("Run", "Reveal", "Explain", "Next lesson")
_UNITS = {"accuracy": ("%", "points"), "connections": ("connections",) * 2, "seconds": ("",) * 2,
          "centre": ("times",) * 2}  # fmt: skip


class Choices(pmui.RadioBoxGroup):
    """Group of choices of which none may be chosen; otherwise Panel chooses the first.

    Its name is public: Bokeh registers no class whose name begins with an underscore, and the page would stay empty.
    """

    _allows_none = True


class LessonStrip:
    """The open lesson. Its parts are made when one is first opened.

    Parameters
    ----------
    store : RunStore
        Where runs are kept.
    compare : callable
        Called with the ids of the lesson's runs.
    choose : callable
        Called with the name of the next lesson, or "" to close.
    warn : callable
        Called with the text of an error.

    Attributes
    ----------
    known : (dict of str to Lesson, list of str)
        Known lessons by name, in order; problems of files that cannot be read.
    """

    def __init__(
        self, store: RunStore, compare: Callable[[list[str]], None], choose: Callable[[str], None],
        warn: Callable[[str], None],
    ):  # fmt: skip
        self._store, self._compare, self._choose, self._warn = store, compare, choose, warn
        self.lesson: Lesson | None = None
        self.step = 0
        self._followers: dict[str, RunFollower] = {}
        self._outcomes: Outcomes = {}
        self.layout = pn.Column(visible=False, sizing_mode="stretch_width", margin=0,
                                styles={**CARD, "padding": "12px 16px"})  # fmt: skip

    @functools.cached_property
    def known(self) -> tuple[dict[str, Lesson], list[str]]:
        """Known lessons and problems, read when they are first needed."""
        return known_lessons()

    @property
    def lessons(self) -> dict[str, Lesson]:
        """Known lessons by name."""
        return self.known[0]

    def _build(self) -> None:
        stretch: dict[str, Any] = {"sizing_mode": "stretch_width", "margin": 0}
        self._title = pn.pane.HTML("", **stretch)
        self._text = pn.pane.HTML("", **stretch)
        self.choices = Choices(options=[], value=None, margin=(0, 8), visible=False)
        self.value = pmui.FloatSlider(
            label="Your guess", start=0, end=1, value=0, width=360, margin=(4, 16), visible=False
        )
        self.button = pmui.Button(label="Run", variant="contained", margin=(6, 8, 0, 0))
        close = pmui.IconButton(icon="close", description="Close the lesson", size="small", margin=0)
        head = pn.Row(self._title, close, **stretch)
        self.layout.objects = [head, self._text, self.choices, self.value, self.button]
        self.button.on_click(self._act)
        self.choices.param.watch(lambda _: self._update_button(), "value")
        close.on_click(lambda _: self._choose(""))

    def show(self, name: str) -> None:
        """Open a lesson at its first step; an empty name closes it."""
        self.lesson = self.lessons.get(name) if name else None
        self.step, self._followers, self._outcomes = 0, {}, {}
        self.layout.visible = self.lesson is not None
        if self.lesson is None:
            if name:
                self._warn(f"There is no lesson {name!r}. Known are {', '.join(self.lessons)}.")
            return
        if not len(self.layout):
            self._build()
        start, end, step = self.lesson.value
        options = [choice.text for choice in self.lesson.choices]
        self.choices.param.update(options=options, value=None, disabled=False)
        self.value.param.update(start=start, end=end, step=step, value=start, disabled=False)
        self.choices.visible, self.value.visible = bool(options), not options
        self._draw()

    def tick(self) -> None:
        """Show how far the runs are."""
        if self.lesson is not None and STEPS[self.step] == "Run":
            for follower in self._followers.values():
                follower.poll()
            self._draw()

    @pn.io.hold()
    def _act(self, _event: Any) -> None:
        """Go to the next step."""
        if self.lesson is None or self.button.disabled:
            return
        if STEPS[self.step] == "Predict":  # answer at once: processes take time to start
            self.button.param.update(label="Starting …", disabled=True)
        after(self._act_now, 0.05)

    def _act_now(self) -> None:
        assert self.lesson is not None
        try:
            if STEPS[self.step] == "Predict":
                self._run(self.lesson)
            elif STEPS[self.step] == "Run":
                self._outcomes = {key: outcome(follower.run) for key, follower in self._followers.items()}
        except (TsnnError, OSError) as error:
            self._warn(str(error))
            self._update_button()
            return
        if self.step == len(STEPS) - 1:
            if following := self._next():
                self._compare([])  # the runs of this lesson say nothing about the next
            self._choose(following)
            return
        self.step += 1
        self.choices.disabled = self.value.disabled = True
        if STEPS[self.step] == "Reveal":
            self.choices.visible = self.value.visible = False
        self._draw()

    def _run(self, lesson: Lesson) -> None:
        """Start the runs, unless they all exist, and compare them."""
        found = find_runs(lesson.configs.values(), self._store)
        runs = [run for run in found if run is not None]
        if len(runs) < len(found):
            runs = start_race(list(lesson.configs.values()), self._store, f"lesson {lesson.name}")
        self._followers = {key: follow(run) for key, run in zip(lesson.configs, runs, strict=True)}
        self._compare([run.id for run in runs])

    def _next(self) -> str:
        names = list(self.lessons)
        at = names.index(self.lesson.name) + 1 if self.lesson else 0
        return names[at] if at < len(names) else ""

    def _draw(self) -> None:
        assert self.lesson is not None
        steps = " · ".join(f"<b>{s}</b>" if i == self.step else f"<span style='opacity:.6'>{s}</span>"
                           for i, s in enumerate(STEPS))  # fmt: skip
        number = list(self.lessons).index(self.lesson.name) + 1
        title = f"Lesson {number} of {len(self.lessons)}: {escape(self.lesson.title)}"
        _set(self._title, html(f"<span style='font-size:18px;font-weight:700'>{title}</span> &ensp; {steps}"))
        paragraphs = [self.lesson.question, *self._progress(self.lesson)]
        if self.step >= STEPS.index("Reveal"):
            paragraphs = [self.lesson.question, self._answer(self.lesson)]
        if STEPS[self.step] == "Explain":
            paragraphs = [*paragraphs[1:], *self.lesson.explain(self._outcomes)]
        _set(self._text, html("".join(f"<p style='margin:6px 0'>{escape(p)}</p>" for p in paragraphs)))
        self._update_button()

    def _progress(self, lesson: Lesson) -> list[str]:
        """Return how far the runs are, in a paragraph; none before they are started."""
        texts = []
        for follower in self._followers.values():
            done, planned = follower.history.done, follower.config.training.epochs
            texts.append(f"{done} of {planned} epochs" if follower.live else follower.state)
        return [f"{len(texts)} runs: {', '.join(texts)}."] if texts else []

    def _answer(self, lesson: Lesson) -> str:
        """Return the prediction beside the result, as text."""
        right = lesson.right(self._outcomes)
        if lesson.choices:
            found = right is not None and self.choices.value == right.text
            answer = f"You predicted “{self.choices.value}”. {'Right' if found else 'Not this time'}"
            if not any(choice.best for choice in lesson.choices):
                return f"{answer}: {self._measured(lesson)}."
            return f"{answer}." if found or right is None else f"{answer}: the best is “{right.text}”."
        return f"You predicted {self.value.value:g}; measured: {self._measured(lesson)}."

    def _measured(self, lesson: Lesson) -> str:
        unit = _UNITS[lesson.measure][bool(lesson.minus)]
        return f"{format_measure(lesson.measure, lesson.measured(self._outcomes))} {unit}".strip()

    def _update_button(self) -> None:
        """Show the button of the step; it waits for an answer, and for the end of the runs."""
        assert self.lesson is not None
        states = [follower.state for follower in self._followers.values()]
        answered = self.choices.value is not None or not self.lesson.choices
        ready = {"Predict": answered, "Run": all(state == RunState.FINISHED for state in states)}
        label = _ACTIONS[self.step] if self.step < len(STEPS) - 1 or self._next() else "Close"
        if any(state in INTERRUPTED for state in states):
            label = "A run has ended early: see Runs"
        state = {"label": label, "disabled": not ready.get(STEPS[self.step], True)}
        if state != {name: getattr(self.button, name) for name in state}:
            self.button.param.update(**state)


def _set(pane: Any, text: str) -> None:
    if pane.object != text:
        pane.object = text
