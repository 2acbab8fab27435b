"""Parallel against sequential training: speed on two cores, and accuracy at equal epochs.

Run ``python -m tests.benchmarks.parallel speed`` or ``... accuracy``. Every run is a run of
``tsnn train`` in a temporary directory.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tqdm import tqdm

from tests.benchmarks.accuracy_tables import MODES
from tests.benchmarks.laboratory import PLAIN
from tsnn.config import Config
from tsnn.jobs.launch import start
from tsnn.runs import ENDED, RunStore

HALF, PHASE_1 = "WASAP, half the batch", "WASAP, 2 workers, phase 1 only"  # half of the batch for each of two workers
ACCURACY_MODES = MODES | {HALF: {**MODES["WASAP, 2 workers"], "training.batch_size": 64}}
RATES = {HALF: 0.7}  # of the preset's learning rate; the best of 0.5 and 0.7 on validation samples
SPEED_UP, COMMUNICATION = 1.6, 0.10  # targets
ACCURACY_EPOCHS = {"paper/fashion_mnist": 60, "paper/madelon": 200, "fashion_mnist": 15}  # by preset


def run(preset, settings):
    """Train; return the lines and records of the run."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config.preset(preset).replace({**PLAIN, **settings})
        run = start(config, RunStore(Path(folder)))
        while run.status()["state"] not in (*ENDED, "lost"):
            time.sleep(0.2)
        if run.status()["state"] != "finished":
            sys.exit(f"{preset}, {settings}: {run.status()}\n{run.log()}")
        return [line for line in run.lines()[0] if line["type"] == "epoch"], run.records()


def speed(epochs, rounds):
    """Epochs per second over both phases, evaluation and evolution included; fractions of the workers' time."""
    modes = {mode: settings for mode, settings in ACCURACY_MODES.items() if mode != PHASE_1}
    speeds = {mode: [] for mode in modes}
    fractions = {mode: [] for mode in modes}
    for _ in tqdm(range(rounds), desc="rounds", file=sys.stderr):
        for mode, settings in modes.items():
            lines, records = run("paper/fashion_mnist", {"training.epochs": epochs, **settings})
            stamps = [line["time"] for line in lines]
            speeds[mode].append((epochs - 2) / (stamps[-1] - stamps[1]))  # the first epochs compile
            parts = [
                (w.seconds_compute, w.seconds_communicate, w.seconds_idle)
                for record in records[2:] for w in record.workers if w.phase == 1
            ]  # fmt: skip
            if parts:
                total = sum(map(sum, parts))
                fractions[mode].append([sum(part) / total for part in zip(*parts, strict=True)])
    print("| FashionMNIST | epochs per second | speed-up | computing | communicating | waiting for others |")
    print("|---|---|---|---|---|---|")
    base = statistics.median(speeds["sequential"])
    for mode, values in speeds.items():
        median = statistics.median(values)
        parts = [statistics.median(column) for column in zip(*fractions[mode], strict=True)] if fractions[mode] else []
        cells = " | ".join(f"{part:.1%}" for part in parts) or "| |"
        print(f"| {mode} | {median:.2f} | {median / base:.2f} | {cells} |")
    best = statistics.median(speeds["WASAP, 2 workers"]) / base
    communication = statistics.median(column[1] for column in fractions["WASAP, 2 workers"])
    verdicts = ["met" if met else "MISSED" for met in (best >= SPEED_UP, communication <= COMMUNICATION)]
    print(f"\nWASAP: speed-up {best:.2f} (target {SPEED_UP}: {verdicts[0]}), ", end="")
    print(f"communication {communication:.1%} (target {COMMUNICATION:.0%}: {verdicts[1]})")


def accuracy(seeds, presets, size, modes):
    """Test accuracy after the last epoch: mean and standard deviation over seeds."""
    print(f"| test accuracy, {seeds} seeds | " + " | ".join(modes) + " |")
    print("|---" * (len(modes) + 1) + "|")
    for preset in presets:
        epochs, cells, base = ACCURACY_EPOCHS[preset], [], None
        for mode in tqdm(modes, desc=preset, file=sys.stderr):
            rate = RATES.get(mode, 1) * Config.preset(preset).training.learning_rate
            settings = {"data.size": size, "training.epochs": epochs, "training.learning_rate": rate}
            settings |= ACCURACY_MODES[mode]
            records = [run(preset, {**settings, "run.seed": seed})[1] for seed in range(seeds)]
            scores = [100 * each[-1].test_accuracy for each in records]
            mean, deviation = statistics.mean(scores), statistics.stdev(scores)
            base = base or (mean, deviation)
            verdict = "" if mean >= base[0] - base[1] else " (below)"
            cells.append(f"{mean:.1f} ± {deviation:.1f} %{verdict}")
        print(f"| {preset}, {epochs} epochs | " + " | ".join(cells) + " |", flush=True)


def main():
    """Run the benchmark that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("benchmark", choices=("speed", "accuracy"))
    parser.add_argument("--epochs", type=int, default=12, help="of speed; 70 %% of them in phase 1")
    parser.add_argument("--rounds", type=int, default=3, help="of speed")
    parser.add_argument("--seeds", type=int, default=5, help="of accuracy")
    presets = list(ACCURACY_EPOCHS)
    parser.add_argument("--presets", nargs="+", default=presets[:2], choices=presets, help="of accuracy")
    parser.add_argument("--size", default="small", choices=("small", "full"), help="of the data of accuracy")
    parser.add_argument(
        "--modes", nargs="+", default=list(ACCURACY_MODES), choices=list(ACCURACY_MODES), help="of accuracy"
    )
    options = parser.parse_args()
    if options.benchmark == "speed":
        speed(options.epochs, options.rounds)
    else:
        accuracy(options.seeds, options.presets, options.size, options.modes)


if __name__ == "__main__":
    main()
