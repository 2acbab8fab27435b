"""Networks in other formats: SciPy, PyTorch, ONNX. PyTorch and ONNX are optional, and imported here only."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from tsnn.engine.network import Network
from tsnn.extras import missing
from tsnn.formats.csr import from_scipy, to_scipy

__all__ = ["from_scipy", "from_torch", "to_onnx", "to_scipy", "to_torch"]


def to_torch(network: Network) -> Any:
    """Return the network as a ``torch.nn.Sequential`` of sparse layers: see :mod:`tsnn.formats.pytorch`.

    Features go in as they were before scaling, and the output neurons' sums come out.

    Raises
    ------
    MissingPackageError
        If PyTorch is not installed.
    """
    return _pytorch().to_torch(network)


def from_torch(module: Any) -> Network:
    """Make a network of a PyTorch MLP whose absent connections are zeros or masked.

    Parameters
    ----------
    module : torch.nn.Module
        Linear layers (pruned by ``torch.nn.utils.prune`` or not, or what :func:`to_torch` gives), each but the last
        followed by ReLU, LeakyReLU or nothing. Dropout and flattening, and softmax or sigmoid at the end, are skipped.
        Connections are those of the mask where there is one, else the weights that are not zero.

    Raises
    ------
    TopologyError
        If it has any other module; the message names it.
    MissingPackageError
        If PyTorch is not installed.
    """
    network: Network = _pytorch().from_torch(module)
    return network


def _pytorch() -> ModuleType:
    try:
        from tsnn.formats import pytorch
    except ImportError as error:
        raise missing("torch", "PyTorch's format", error) from error
    return pytorch


def to_onnx(
    network: Network, *, task: str = "classification", class_names: Sequence[str] = (),
    feature_names: Sequence[str] = (),
) -> Any:  # fmt: skip
    """Return the network as an ``onnx.ModelProto``; see :mod:`tsnn.formats.onnx` for its input and output.

    Parameters
    ----------
    network : Network
        The network.
    task : {"classification", "multilabel", "regression"}
        Whether probabilities come out (softmax, or sigmoid for each label) or numbers.
    class_names : sequence of str
        Kept in the model's metadata as ``classes``, one to a line.
    feature_names : sequence of str
        Likewise, as ``features``.

    Raises
    ------
    MissingPackageError
        If the package onnx is not installed.
    TsnnError
        If the model exceeds ONNX's limit of 2 GB.
    """
    try:
        from tsnn.formats import onnx
    except ImportError as error:
        raise missing("onnx", "The format ONNX", error) from error
    return onnx.to_onnx(network, task, class_names, feature_names)
