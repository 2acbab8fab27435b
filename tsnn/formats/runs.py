"""Trained networks of runs: read, ranked by input, and as files in several formats."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from tsnn import kernels
from tsnn.engine.network import Network
from tsnn.engine.serialization import load_network
from tsnn.errors import RunError
from tsnn.extras import missing
from tsnn.formats import to_onnx
from tsnn.runs import Run
from tsnn.runs.features import feature_names, rank_features


def final_network(run: Run) -> Network:
    """Return the network that a run ended with, with the scaling of features.

    Raises
    ------
    RunError
        If there are no weights yet, or they are damaged.
    DivergenceError
        If they are not finite.
    """
    path = _weights(run)
    if not path.exists():
        raise RunError(
            f"Run {run.id} is {run.status()['state']} and has no weights yet. They are written when it ends."
        )
    network = load_network(path)
    network.check_finite()
    return network


def _weights(run: Run) -> Path:
    return run.path / "weights.npz"


def ranked_features(run: Run) -> tuple[dict[str, list[Any]], str]:
    """Return the features of a run, the strongest first, and the network that they were ranked by as text.

    The network is that at the run's end; of a run that has not ended, that of its newest snapshot.

    Raises
    ------
    RunError
        If the run has neither.
    """
    names = feature_names(run)
    if _weights(run).exists():
        layer = final_network(run).layers[0]
        strength = kernels.row_strength(layer.topology.indptr, layer.weights)
        return rank_features(strength, layer.topology.out_degree, names), "the final network"
    epoch = max(run.snapshot_epochs(), default=None)
    if epoch is None:
        raise RunError(f"Run {run.id} is {run.status()['state']} and has no network yet. Try again later.")
    snapshot = run.snapshot(epoch, 0, ("input_strength", "input_degree"))
    if snapshot.input_strength is None or snapshot.input_degree is None:
        raise RunError(f"The snapshot of epoch {epoch} of run {run.id} holds no inputs. Try again when the run ends.")
    columns = rank_features(snapshot.input_strength, snapshot.input_degree, names, int(snapshot.sizes[0]))
    return columns, f"the network after epoch {epoch}"


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
        If there are no weights, or they are damaged or not finite.
    TsnnError
        If what the format needs is not installed.
    """
    network = final_network(run)
    if form == "npz":
        return _weights(run).read_bytes()
    if form == "onnx":
        data = run.meta()["data"]
        names = {"class_names": data["class_names"], "feature_names": feature_names(run)}
        content: bytes = to_onnx(network, task=data["task"], **names).SerializeToString()
        return content
    try:
        from tsnn.formats.pytorch import save_torch
    except ImportError as error:
        raise missing("torch", "PyTorch's format", error) from error
    buffer = io.BytesIO()
    save_torch(network, buffer)
    return buffer.getvalue()
