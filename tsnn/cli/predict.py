"""Commands about a trained network: predictions for a file, and the ranking of its features."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from tsnn.errors import ConfigError
from tsnn.runs import RunStore
from tsnn.runs.export import csv_bytes

_LISTED = 30  # features that are printed


def predict(options: argparse.Namespace) -> int:
    """Write the predictions for a file as CSV; notes and the score go to the terminal."""
    from tsnn.estimator.predictions import predict_file  # imports Numba and scikit-learn

    run = RunStore(options.runs).open(options.run)
    prediction = predict_file(run, options.file, probabilities=options.probabilities, header=options.header)
    messages = _write(prediction.columns, options.output)
    for note in prediction.notes:
        print(note, file=messages)
    if prediction.score:
        print(prediction.score, file=messages)
    return 0


def features(options: argparse.Namespace) -> int:
    """Print the features with the strongest connections, or write all as CSV."""
    from tsnn.formats.runs import ranked_features  # imports Numba

    if options.n is not None and options.n < 1:
        raise ConfigError(f"-n is {options.n}; expected the number of features to list, such as 30.")
    run = RunStore(options.runs).open(options.run)
    columns, network = ranked_features(run)
    if options.output is not None:
        _write({name: values[: options.n] for name, values in columns.items()}, options.output)
        return 0
    print(f"Inputs by the strength of their connections in {network}:")
    print("\n".join(_feature_lines(columns, _LISTED if options.n is None else options.n)))
    if run.config().data.preprocessing == "none":
        print("The features were not scaled: strengths depend on their units.")
    return 0


def _write(columns: Mapping[str, Sequence[Any]], output: Path | None) -> TextIO:
    """Write columns as CSV to a file or standard output; returns the stream for messages."""
    content = csv_bytes(columns)
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return sys.stderr
    output.write_bytes(content)
    return sys.stdout


def _feature_lines(columns: Mapping[str, Sequence[Any]], n: int) -> list[str]:
    names = [name if len(name) <= 40 else name[:39] + "…" for name in columns["feature"][:n]]
    width = max(map(len, [*names, "feature"]))
    lines = [f"{'rank':>6}  {'feature':<{width}}{'strength':>12}{'importance':>12}{'connections':>13}"]
    numbers = zip(columns["strength"], columns["importance"], columns["connections"], strict=True)
    for rank, (name, (strength, importance, connections)) in enumerate(zip(names, numbers, strict=False), 1):
        lines.append(f"{rank:>6}  {name:<{width}}{strength:>12.4g}{importance:>12.2%}{connections:>13,.10g}")
    if len(names) < len(columns["rank"]):
        lines.append(f"... and {len(columns['rank']) - len(names):,} more; -o FILE writes all.")
    return lines
