"""Networks as PyTorch modules, and back. Layers stay sparse: their weights are parameters in CSR layout.

Such a parameter has a gradient in the same layout, and ``torch.optim.SGD`` trains it; optimizers that need dense
parameters do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import nn

from tsnn.engine.activations import IDENTITY_SLOPE
from tsnn.engine.network import Layer, Network
from tsnn.errors import TopologyError, TsnnError
from tsnn.formats.csr import assemble

_SKIPPED = (nn.Dropout, nn.AlphaDropout, nn.Flatten, nn.Identity)
_AT_THE_END = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid)


class Scaling(nn.Module):
    """Scaling of features: ``(x - offset) * scale``; float32[samples, n_features] both ways."""

    def __init__(self, offset: Any, scale: Any):
        super().__init__()
        self.register_buffer("offset", torch.from_numpy(np.float32(offset)))
        self.register_buffer("scale", torch.from_numpy(np.float32(scale)))

    def forward(self, x: Any) -> Any:
        """Scale features."""
        return (x - self.offset) * self.scale


class SparseLinear(nn.Module):
    """A layer whose weight [n_out, n_in] has CSR layout; float32[samples, n_in] to float32[samples, n_out]."""

    def __init__(self, layer: Layer):
        super().__init__()
        t = layer.topology
        parts = t.t_indptr, t.t_indices.astype(np.int64), layer.weights[t.t_perm]
        self.weight = nn.Parameter(
            torch.sparse_csr_tensor(*(torch.from_numpy(part.copy()) for part in parts), size=(t.n_out, t.n_in))
        )
        self.bias = nn.Parameter(torch.from_numpy(layer.bias.copy()))

    def forward(self, x: Any) -> Any:
        """Compute the neurons' sums."""
        return torch.sparse.mm(self.weight, x.T).T + self.bias


def to_torch(network: Network) -> nn.Sequential:
    """See :func:`tsnn.formats.to_torch`."""
    modules: list[nn.Module] = [] if network.scaling is None else [Scaling(*network.scaling)]
    for l, (layer, slope) in enumerate(zip(network.layers, network.slopes, strict=True), start=1):
        modules.append(SparseLinear(layer))
        if network.curve and l < len(network.layers):
            modules.append(nn.Tanh() if network.curve == "tanh" else nn.GELU(approximate="tanh"))
        elif slope != IDENTITY_SLOPE:
            modules.append(nn.LeakyReLU(slope))
    return nn.Sequential(*modules)


def save_torch(network: Network, path: Any) -> None:
    """Write the tensors to a file that ``torch.load(path, weights_only=True)`` reads, without tsnn as well.

    It holds a dictionary with a list for each of ``weights`` (CSR, [n_out, n_in]), ``biases`` and ``slopes``, and
    ``offset`` and ``scale``. To compute the outputs: ``x = (x - offset) * scale``, then for each layer
    ``x = torch.nn.functional.leaky_relu(torch.sparse.mm(weight, x.T).T + bias, slope)``.
    """
    if network.curve:
        raise TsnnError(
            f"The file holds slopes of activations, and {network.curve} has none. Use tsnn.to_torch, or format onnx."
        )
    layers = [SparseLinear(layer) for layer in network.layers]
    n = network.sizes[0]
    scaling = Scaling(*(network.scaling or (np.zeros(n), np.ones(n))))
    torch.save(
        {
            "weights": [layer.weight.detach() for layer in layers],
            "biases": [layer.bias.detach() for layer in layers],
            "slopes": list(network.slopes),
            "offset": scaling.offset,
            "scale": scaling.scale,
        },
        path,
    )


def from_torch(module: Any) -> Network:
    """See :func:`tsnn.formats.from_torch`."""
    matrices, biases, slopes, scaling = [], [], [], None
    ended = False
    for name, part in module.named_modules():
        if len(list(part.children())):
            continue
        if isinstance(part, nn.Linear | SparseLinear):
            matrices.append(_matrix(part))
            bias = part.bias
            biases.append(np.zeros(matrices[-1].shape[1]) if bias is None else bias.detach().cpu().numpy())
            slopes.append(IDENTITY_SLOPE)
        elif isinstance(part, nn.ReLU | nn.LeakyReLU) and slopes and slopes[-1] == IDENTITY_SLOPE:
            slopes[-1] = getattr(part, "negative_slope", 0.0)
        elif isinstance(part, Scaling) and not matrices:
            scaling = _float64(part.offset), _float64(part.scale)
        elif isinstance(part, _AT_THE_END):
            ended = True
            continue
        elif not isinstance(part, _SKIPPED):
            raise TopologyError(
                f"{name}, a {type(part).__name__}, has no counterpart. Known are Linear and (Leaky)ReLU."
            )
        if ended:
            raise TopologyError(f"{name}, a {type(part).__name__}, follows the output's softmax or sigmoid.")
    if slopes and slopes[-1] != IDENTITY_SLOPE:
        raise TopologyError("The last layer has an activation; expected the plain sums of the output neurons.")
    network = assemble(matrices, biases, slopes, "he_uniform")
    network.scaling = scaling
    return network


def _float64(values: Any) -> Any:
    return values.cpu().numpy().astype(np.float64)


def _matrix(part: Any) -> csr_array:
    """Return a layer's weights as CSR [n_in, n_out]."""
    weight = part.weight.detach().cpu()
    if weight.layout == torch.sparse_csr:
        arrays = weight.values(), weight.col_indices(), weight.crow_indices()
        transposed = csr_array(tuple(array.numpy() for array in arrays), shape=tuple(weight.shape))
        return csr_array(transposed.T)
    values = weight.numpy().T
    mask = getattr(part, "weight_mask", None)
    rows, columns = np.nonzero(values if mask is None else mask.cpu().numpy().T)
    return csr_array((values[rows, columns], (rows, columns)), shape=values.shape)
