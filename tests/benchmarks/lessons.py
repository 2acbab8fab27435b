"""Claims of the dashboard's lessons and of its race: the measured values, for several seeds.

Prints for each seed the values of all runs, the measured answer, and the choice that it makes right. The race of the
welcome page is printed like a lesson.

Run ``python -m tests.benchmarks.lessons [--seeds N] [NAME ...]``; the app folder must be on the path.
"""

import argparse
import sys
import tempfile

from tests.support.dashboard import ROOT
from tsnn.config import Config
from tsnn.execution.engine import execute
from tsnn.jobs.race import default_contenders, variants
from tsnn.runs import RunStore

sys.path.insert(0, str(ROOT / "app"))

from pages.lessons import format_measure, known_lessons, outcome
from pages.welcome import RACE


def measure(config, seed, store):
    """Train one run; returns its values."""
    run = store.create(config.replace({"run.seed": seed, "run.threads": 1}))
    for _ in execute(run):
        pass
    return outcome(run)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lessons", description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    lessons, _ = known_lessons()
    race = variants(Config.preset("paper/fashion_mnist").replace(RACE), default_contenders())
    plans = {"race": {c.training.method: c for c in race}, **{name: l.configs for name, l in lessons.items()}}
    for name in options.names or plans:
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory() as folder:
                store = RunStore(folder)
                found = {key: measure(config, seed, store) for key, config in plans[name].items()}
            values = "; ".join(
                f"{key} " + ", ".join(f"{format_measure(m, v)} {m}" for m, v in values.items() if v == v)
                for key, values in found.items()
            )
            answer = ""
            if lesson := lessons.get(name):
                right = lesson.right(found)
                answer = f" -> {lesson.measured(found):.1f} {right.text if right else ''}"
            print(f"{name}, seed {seed}: {values}{answer}", flush=True)


if __name__ == "__main__":
    main()
