"""Networks: layers of connections, the buffers they work in, forward and backward passes.

Arrays are changed in place here and in :mod:`tsnn.kernels` only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsnn import kernels
from tsnn.config import Config, NetworkConfig, TrainingConfig
from tsnn.datasets import Features
from tsnn.engine.activations import IDENTITY_SLOPE, hidden_slope
from tsnn.engine.losses import output_loss
from tsnn.engine.shapes import layer_shapes
from tsnn.engine.topology import Int32, Int64, Topology, erdos_renyi
from tsnn.engine.workspace import Workspace
from tsnn.tiling import can_scatter

Float32 = NDArray[np.float32]


@dataclass(eq=False)
class Layer:
    """The connections between two layers of neurons, and the biases of those at their end.

    Attributes
    ----------
    topology : Topology
        Which connections exist.
    weights, velocity : float32[connections]
        Aligned to ``topology.indices``; velocity is the momentum term of SGD.
    bias, bias_velocity : float32[n_out]
        Biases of the output neurons, and their momentum term.
    """

    topology: Topology
    weights: Float32
    velocity: Float32
    bias: Float32
    bias_velocity: Float32

    @classmethod
    def new(cls, topology: Topology, weights: Float32) -> Layer:
        """Return a layer with these weights, biases and velocities 0."""
        zeros = [np.zeros(n, np.float32) for n in (topology.connections, topology.n_out, topology.n_out)]
        return cls(topology, weights, *zeros)

    def copy(self) -> Layer:
        """Return a layer that can be trained apart; the topology, which nobody changes, is shared."""
        arrays = self.weights, self.velocity, self.bias, self.bias_velocity
        return Layer(self.topology, *(array.copy() for array in arrays))


@dataclass(eq=False)
class Network:
    """A feed-forward network of sparse layers.

    Attributes
    ----------
    layers : list of Layer
        From the input to the output.
    slopes : tuple of float
        Negative slope of each layer's activation (:mod:`tsnn.engine.activations`); 1, the identity, at the output.
    living : list of bool[n_out]
        For each layer, the neurons at its end that importance pruning has left.
    initializer : str
        Distribution of new weights.
    scaling : (float64[n_features], float64[n_features]), optional
        Offset and scale: features are to be given to the network as ``(x - offset) * scale``. None: as they are.
    """

    layers: list[Layer]
    slopes: tuple[float, ...]
    initializer: str
    living: list[NDArray[np.bool_]] = field(default_factory=list)
    scaling: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None

    def __post_init__(self) -> None:
        if not self.living:
            self.living = [np.ones(layer.topology.n_out, dtype=bool) for layer in self.layers]

    def copy(self) -> Network:
        """Return a network that can be trained apart."""
        layers, living = [layer.copy() for layer in self.layers], [alive.copy() for alive in self.living]
        return Network(layers, self.slopes, self.initializer, living, self.scaling)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons of each layer, from the inputs to the outputs."""
        return (self.layers[0].topology.n_in, *(layer.topology.n_out for layer in self.layers))

    @property
    def connections(self) -> int:
        """Number of stored weights of the whole network."""
        return sum(layer.topology.connections for layer in self.layers)

    def living_inputs(self, layer: int) -> NDArray[np.bool_]:
        """Return which neurons at the start of a layer live, bool[n_in]; input features always do."""
        return self.living[layer - 1] if layer else np.ones(self.sizes[0], dtype=bool)


def init_network(n_features: int, n_outputs: int, config: Config, *, rng: np.random.Generator) -> Network:
    """Create a network with an Erdős–Rényi topology and random weights.

    Parameters
    ----------
    n_features, n_outputs : int
        Width of the data and of the answer.
    config : Config
        Hidden layers, epsilon, activation, initializer; the methods ``dense`` and ``two_phase`` connect everything.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    network : Network
        Of O(connections) memory: no dense array is formed unless the layer itself is dense.
    """
    layers = []
    for n_in, n_out, connections in layer_shapes(n_features, n_outputs, config):
        topology = erdos_renyi(n_in, n_out, connections, rng=rng)
        weights = draw_weights(config.network.initializer, n_in, n_out, connections, rng=rng)
        layers.append(Layer.new(topology, weights))
    return Network(layers, layer_slopes(config.network), config.network.initializer)


def layer_slopes(config: NetworkConfig) -> tuple[float, ...]:
    """Return the negative slope of each layer's activation, the identity of the output layer last."""
    slopes = [hidden_slope(config.activation, config.alpha, l) for l in range(1, len(config.hidden) + 1)]
    return (*slopes, IDENTITY_SLOPE)


def draw_weights(initializer: str, n_in: int, n_out: int, count: int, *, rng: np.random.Generator) -> Float32:
    """Draw weights for new connections, float32[count].

    ``he_uniform``: U(-l, l) with ``l = sqrt(6 / n_in)``; ``xavier_uniform``: ``l = sqrt(6 / (n_in + n_out))``;
    ``normal``: 0.1 N(0, 1).
    """
    if initializer == "normal":
        weights = rng.standard_normal(count, dtype=np.float32)
        weights *= np.float32(0.1)
        return weights
    fan = n_in if initializer == "he_uniform" else n_in + n_out
    limit = np.float32(np.sqrt(6 / fan))
    weights = rng.random(count, dtype=np.float32)
    weights *= 2 * limit
    weights -= limit
    return weights


def forward(
    network: Network, workspace: Workspace, *, dropout: float = 0.0, key: int = 0, sample_offset: int = 0
) -> Float32:
    """Propagate the inputs in ``workspace.activations[0]`` through the network.

    Parameters
    ----------
    network : Network
        The network.
    workspace : Workspace
        Holds the inputs; its activations and masks are written.
    dropout : float
        Share of hidden neurons silenced (inverted dropout); 0 for inference.
    key : int
        Number of this training step's random masks; the masks depend on nothing else, so not on threads.
    sample_offset : int
        Number of the first sample within the batch, if the batch is processed in parts.

    Returns
    -------
    z : float32[n_outputs, width]
        The output neurons' sums; a view into the workspace.
    """
    threshold = kernels.dropout_threshold(dropout)
    last = len(network.layers) - 1
    for l, layer in enumerate(network.layers):
        t, x, out, masks = layer.topology, workspace.activations[l], workspace.activations[l + 1], workspace.masks[l]
        rule = network.slopes[l], threshold if l < last else 0, key + l, sample_offset
        if workspace.compact and can_scatter(t.n_out, t.connections):
            kernels.scatter(t.indptr, t.indices, layer.weights, layer.bias, x, *rule, out, masks)
        else:
            kernels.forward(
                t.t_indptr, t.t_indices, t.t_perm, layer.weights, layer.bias, x, *rule,
                t.segments, workspace.partial(l, len(t.segments)), out, masks,
            )  # fmt: skip
    return workspace.activations[-1]


def backward(
    network: Network, workspace: Workspace, *, dropout: float, learning_rate: float, momentum: float,
    weight_decay: float, update: bool = True, down_to: int = 0,
) -> None:  # fmt: skip
    """Propagate ``dLoss/dz`` in ``workspace.activations[-1]`` back and train every connection on the way.

    ``v <- momentum v - learning_rate g``, then, if ``update``, ``w <- w + v - weight_decay w``; for weights
    and biases, in place. The gradient ``g`` exists for stored connections only and is used as it is formed.
    Layers below ``down_to`` are left alone. The activations of the layers passed are replaced by ``dLoss/dz``.
    """
    threshold = kernels.dropout_threshold(dropout)
    for l in reversed(range(down_to, len(network.layers))):
        layer, t = network.layers[l], network.layers[l].topology
        below = max(l - 1, 0)
        kernels.backward(
            t.indptr, t.indices, layer.weights, layer.velocity, layer.bias, layer.bias_velocity,
            workspace.activations[l], workspace.activations[l + 1], momentum, learning_rate, weight_decay, update,
            workspace.masks[below], network.slopes[below], threshold, l > 0,
        )  # fmt: skip


def train_batch(
    network: Network, workspace: Workspace, x: Features, y: NDArray[Any], chosen: Int64, *,
    task: str, config: TrainingConfig, dropout: float, key: int, weights: Float32 | None = None,
) -> tuple[float, float]:  # fmt: skip
    """Carry out one step of momentum SGD on the chosen samples.

    A batch wider than the workspace is processed in parts, with the result of the whole up to rounding.

    Parameters
    ----------
    network, workspace
        Changed in place.
    x : float32[n_samples, n_features] or the like, y : int64[n_samples] or float32[n_samples, n_outputs]
        The training part.
    chosen : int64[b]
        Rows of the batch.
    task : str
        See :func:`tsnn.engine.losses.output_loss`.
    config : TrainingConfig
        Learning rate, momentum, weight decay.
    dropout, key
        See :func:`forward`.
    weights : float32[n_samples], optional
        How much each sample counts in the loss.

    Returns
    -------
    loss, n_correct : float
        Sums over the batch, before the step.
    """
    rates = config.momentum, config.learning_rate, config.weight_decay
    return _pass(network, workspace, x, y, chosen, task, dropout, key, *rates, update=True, weights=weights)


def batch_gradient(
    network: Network, workspace: Workspace, x: Features, y: NDArray[Any], chosen: Int64, *,
    task: str, dropout: float, key: int, gathered: bool = False,
) -> tuple[float, float]:  # fmt: skip
    """Compute the gradient of the chosen samples; nothing is trained. Like :func:`train_batch`, but for that.

    The gradient replaces what was in the layers' velocities and bias velocities. ``gathered`` says that the first part
    of the batch, as wide as the workspace, is in ``workspace.activations[0]`` already.
    """
    return _pass(network, workspace, x, y, chosen, task, dropout, key, 0.0, -1.0, 0.0, update=False, gathered=gathered)


def _pass(
    network: Network, workspace: Workspace, x: Features, y: NDArray[Any], chosen: Int64, task: str, dropout: float,
    key: int, momentum: float, learning_rate: float, weight_decay: float, *, update: bool,
    weights: Float32 | None = None, gathered: bool = False,
) -> tuple[float, float]:  # fmt: skip
    """Pass a batch forward and back, in as many parts as the workspace needs."""
    loss = n_correct = 0.0
    for start in range(0, len(chosen), workspace.width):
        part = chosen[start : start + workspace.width]
        if start or not gathered:
            take(x, part, workspace.activations[0])
        z = forward(network, workspace, dropout=dropout, key=key, sample_offset=start)
        part_loss, part_correct = output_loss(
            task, z, y[part], 1.0 / len(chosen), None if weights is None else weights[part]
        )
        backward(
            network, workspace, dropout=dropout, learning_rate=learning_rate, momentum=momentum if start == 0 else 1.0,
            weight_decay=weight_decay, update=update and start + len(part) == len(chosen),
        )  # fmt: skip
        loss += part_loss
        n_correct += part_correct
    return loss, n_correct


def probe_gradient(
    network: Network, workspace: Workspace, x: Features, y: NDArray[Any], chosen: Int64, task: str, layer: int,
    indptr: Int64, indices: Int32, weights: Float32 | None = None,
) -> Float32:  # fmt: skip
    """Return a batch's gradient at positions of a layer that need no connection; nothing is trained.

    Parameters
    ----------
    network, workspace, x, y, chosen, task, weights
        See :func:`train_batch`; dropout is off.
    layer : int
        The layer, from 0.
    indptr, indices : int64[n_in + 1], int32[k]
        The positions as a CSR pattern.

    Returns
    -------
    gradient : float32[k]
    """
    gradient = np.zeros(len(indices), np.float32)
    for start in range(0, len(chosen), workspace.width):
        part = chosen[start : start + workspace.width]
        take(x, part, workspace.activations[0])
        z = forward(network, workspace)
        output_loss(task, z, y[part], 1.0 / len(chosen), None if weights is None else weights[part])
        backward(
            network, workspace, dropout=0, learning_rate=0, momentum=1, weight_decay=0, update=False, down_to=layer + 1
        )
        below, delta = workspace.activations[layer : layer + 2]
        kernels.add_gradient(indptr, indices, below, delta, gradient)
    return gradient


def take(x: Features, rows: Int64, out: Float32) -> None:
    """Write samples as columns, ``out[:, s] = x[rows[s]]``; padded columns become 0."""
    if isinstance(x, np.ndarray):
        kernels.gather(x, rows, out)
    else:
        x.gather(rows, out)
