"""Networks: layers of connections and how they are initialized."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tsnn.arrays import kernel_array
from tsnn.config import Config, NetworkConfig
from tsnn.datasets import Dataset
from tsnn.engine.activations import IDENTITY_SLOPE, curve_of, hidden_slope
from tsnn.engine.shapes import layer_shapes
from tsnn.engine.topology import Topology, erdos_renyi
from tsnn.errors import DivergenceError

Float32 = NDArray[np.float32]


@dataclass(eq=False)
class Layer:
    """Connections between two layers of neurons: topology, weights, velocities, biases.

    Attributes
    ----------
    topology : Topology
        The pattern of connections.
    weights, velocity : float32[connections]
        Aligned to ``topology.indices``; velocity is the momentum term of SGD.
    bias, bias_velocity : float32[n_out]
        Biases of the output neurons, and their momentum term.
    state, bias_state : dict of str to float32[connections], float32[n_out]
        Arrays of an optimizer other than momentum SGD (:mod:`tsnn.engine.optimizers`); the velocities are then 0
        between two steps.
    """

    topology: Topology
    weights: Float32
    velocity: Float32
    bias: Float32
    bias_velocity: Float32
    state: dict[str, Float32] = field(default_factory=dict)
    bias_state: dict[str, Float32] = field(default_factory=dict)

    @classmethod
    def new(cls, topology: Topology, weights: Float32) -> Layer:
        """Return a layer with these weights, biases and velocities 0."""
        velocity, bias, bias_velocity = (
            np.zeros(n, np.float32) for n in (topology.connections, topology.n_out, topology.n_out)
        )
        return cls(topology, weights, velocity, bias, bias_velocity)

    def copy(self) -> Layer:
        """Return a copy, writeable; the topology, which is immutable, is shared."""
        state, bias_state = ({name: a.copy() for name, a in s.items()} for s in (self.state, self.bias_state))
        weights, velocity, bias = self.weights.copy(), self.velocity.copy(), self.bias.copy()
        return Layer(self.topology, weights, velocity, bias, self.bias_velocity.copy(), state, bias_state)


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
        For each layer, the neurons at its end that importance pruning has not removed.
    initializer : str
        Distribution of new weights.
    curve : str
        Activation of the hidden layers, of :data:`tsnn.engine.activations.CURVES`: their slopes are 1. Empty: two
        slopes.
    scaling : (float64[n_features], float64[n_features]), optional
        Offset and scale: the inputs are features as ``(x - offset) * scale``. None: features as they are.
    """

    layers: list[Layer]
    slopes: tuple[float, ...]
    initializer: str
    living: list[NDArray[np.bool_]] = field(default_factory=list)
    scaling: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    curve: str = ""

    def __post_init__(self) -> None:
        if not self.living:
            self.living = [np.ones(layer.topology.n_out, dtype=bool) for layer in self.layers]

    def copy(self) -> Network:
        """Return a copy; topologies are shared."""
        layers, living = [layer.copy() for layer in self.layers], [alive.copy() for alive in self.living]
        return Network(layers, self.slopes, self.initializer, living, self.scaling, self.curve)

    def prepare_for_kernels(self) -> None:
        """Replace the arrays that kernels cannot take by copies: read-only or memory-mapped ones.

        joblib, Ray, Dask and others hand such networks to other processes. Called wherever training or evaluation
        begins: a kernel would write into them, or would be compiled once more for them.
        """
        for layer in self.layers:
            layer.topology = layer.topology.for_kernels()
            for name in ("weights", "velocity", "bias", "bias_velocity"):
                setattr(layer, name, kernel_array(getattr(layer, name), np.float32))
            for state in (layer.state, layer.bias_state):
                state.update({name: kernel_array(array, np.float32) for name, array in state.items()})
        self.living = [kernel_array(living, np.bool_) for living in self.living]

    def check_finite(self) -> None:
        """Raise a DivergenceError if a weight or bias is not finite."""
        for l, layer in enumerate(self.layers, start=1):
            if not (np.isfinite(layer.weights).all() and np.isfinite(layer.bias).all()):
                raise DivergenceError(
                    f"Layer {l} of the network has weights that are not finite: its training diverged. "
                    "Train it again from the beginning, with a smaller learning rate."
                )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons of each layer, from the inputs to the outputs."""
        return (self.layers[0].topology.n_in, *(layer.topology.n_out for layer in self.layers))

    @property
    def connections(self) -> int:
        """Number of stored weights of all layers."""
        return sum(layer.topology.connections for layer in self.layers)

    def living_inputs(self, layer: int) -> NDArray[np.bool_]:
        """Return which neurons at the start of a layer live, bool[n_in]; input features always do."""
        return self.living[layer - 1] if layer else np.ones(self.sizes[0], dtype=bool)


def init_network(n_features: int, n_outputs: int, config: Config, *, rng: np.random.Generator) -> Network:
    """Create a network with an Erdős–Rényi topology and random weights.

    Parameters
    ----------
    n_features, n_outputs : int
        Neurons of the input and of the output layer.
    config : Config
        Hidden layers, epsilon, activation, initializer; the methods ``dense`` and ``two_phase`` make every connection.
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
        initializer = config.network.initializer
        weights = draw_weights(initializer, n_in, n_out, connections, rng=rng, fan=_own_fan(initializer, topology))
        layers.append(Layer.new(topology, weights))
    slopes, curve = layer_slopes(config.network), curve_of(config.network.activation)
    return Network(layers, slopes, config.network.initializer, curve=curve)


def prediction_network(network: Network, data: Dataset) -> Network:
    """Return the network that predicts: it takes features as they were given, and answers in the targets' units.

    Parameters
    ----------
    network : Network
        Trained on ``data``. All layers but the last are shared with it; in regression the scaling of the targets is
        merged into the weights and biases of that one.
    data : Dataset
        The scaling of features and targets.
    """
    network = dataclasses.replace(network, scaling=data.scaling)
    if data.target_offset is not None and data.target_scale is not None:
        spread, last = 1 / data.target_scale, network.layers[-1].copy()
        last.weights *= spread[last.topology.indices].astype(np.float32)
        last.bias[:] = last.bias * spread + data.target_offset
        network.layers = [*network.layers[:-1], last]
    return network


def layer_slopes(config: NetworkConfig) -> tuple[float, ...]:
    """Return the negative slope of each layer's activation, the identity of the output layer last."""
    slopes = [hidden_slope(config.activation, config.alpha, l) for l in range(1, len(config.hidden) + 1)]
    return (*slopes, IDENTITY_SLOPE)


def _own_fan(initializer: str, t: Topology) -> Float32 | None:
    """Return the connections of the neurons at the ends of each connection, float32[connections].

    ``he_uniform_sparse`` counts the inputs of the neuron at the end (arXiv 2010.03533, section 3),
    ``xavier_uniform_sparse`` also the outputs of the neuron at the start; None for others.
    """
    if not initializer.endswith("_sparse"):
        return None
    fan: Float32 = t.in_degree.astype(np.float32)[t.indices]
    if initializer.startswith("xavier"):
        fan += np.repeat(t.out_degree.astype(np.float32), t.out_degree)
    return fan


def draw_weights(
    initializer: str, n_in: int, n_out: int, count: int, *, rng: np.random.Generator, fan: Float32 | None = None
) -> Float32:
    """Draw weights for new connections, float32[count].

    ``he_uniform``: U(-l, l) with ``l = sqrt(6 / n_in)``; ``xavier_uniform``: ``l = sqrt(6 / (n_in + n_out))``;
    ``normal``: 0.1 N(0, 1). With ``fan``, float32[count], ``l = sqrt(6 / fan)``: at the start with
    ``he_uniform_sparse`` and ``xavier_uniform_sparse``, whose regrown connections get the small weights of the others.
    """
    if initializer == "normal":
        weights = rng.standard_normal(count, dtype=np.float32)
        weights *= np.float32(0.1)
        return weights
    weights = rng.random(count, dtype=np.float32)
    if fan is not None:
        weights *= 2
        weights -= 1
        weights *= np.sqrt(6 / fan)
        return weights
    limit = np.float32(np.sqrt(6 / (n_in if initializer.startswith("he") else n_in + n_out)))
    weights *= 2 * limit
    weights -= limit
    return weights
