"""Trained networks of runs as files in several formats."""

from __future__ import annotations

import io
from pathlib import Path

from tsnn.engine.serialization import load_network
from tsnn.errors import RunError
from tsnn.formats import missing, to_onnx
from tsnn.runs import Run


def export_network(run: Run, form: str) -> bytes:
    """Return the network that a run ended with, as the content of a file.

    Parameters
    ----------
    run : Run
        A run that has ended.
    form : {"npz", "onnx", "torch"}
        As the run keeps it (:func:`tsnn.load_network`); an ONNX model (:mod:`tsnn.formats.onnx`); tensors for
        PyTorch (:func:`tsnn.formats.pytorch.save_torch`). All three contain the scaling of features, and
        for regression that of the targets: they answer in the targets' units.

    Raises
    ------
    RunError
        If there are no weights, or they are damaged.
    TsnnError
        If what the format needs is not installed.
    """
    path: Path = run.path / "weights.npz"
    if not path.exists():
        raise RunError(
            f"Run {run.id} is {run.status()['state']} and has no weights yet. They are written when it ends."
        )
    network = load_network(path)
    if form == "npz":
        return path.read_bytes()
    if form == "onnx":
        data = run.meta()["data"]
        content: bytes = to_onnx(network, task=data["task"], class_names=data["class_names"]).SerializeToString()
        return content
    try:
        from tsnn.formats.pytorch import save_torch
    except ImportError as error:
        raise missing("PyTorch", "torch", error) from error
    buffer = io.BytesIO()
    save_torch(network, buffer)
    return buffer.getvalue()
