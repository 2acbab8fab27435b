"""A network as an ONNX model that stays sparse.

The input is ``features`` float32[samples, n_features], before scaling; the output ``probabilities`` or, for
regression, ``values``, float32[samples, n_outputs]. ONNX has no sparse product that runtimes implement, so a
layer is a Gather along its connections, a product with the weights, and a ScatterND that adds: file and memory grow
with the connections. Layers whose dense matrix is no larger than that are dense.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from tsnn._version import __version__
from tsnn.engine.network import Layer, Network
from tsnn.errors import TsnnError

OPSET, IR_VERSION = 18, 9  # of 2023: what runtimes of the last years read
BYTES_PER_CONNECTION = 16  # weight and input float32, int32; output int64
LIMIT = 2**31 - 2**20  # of a protocol buffer
OUTPUTS = {"classification": "probabilities", "multilabel": "probabilities", "regression": "values"}


def to_onnx(network: Network, task: str, class_names: Sequence[str], feature_names: Sequence[str] = ()) -> Any:
    """See :func:`tsnn.formats.to_onnx`."""
    size = sum(min(16 * layer.topology.connections, 4 * _cells(layer)) for layer in network.layers)
    if size > LIMIT:
        raise TsnnError(f"The model would take {size:,} bytes; ONNX allows {LIMIT:,}. Prune it, or use format npz.")
    graph = _Graph()
    values = "features"
    if network.scaling is not None:
        values = graph.node("Sub", values, graph.constant("offset", np.float32(network.scaling[0])))
        values = graph.node("Mul", values, graph.constant("scale", np.float32(network.scaling[1])))
    samples = graph.node("Shape", "features", start=0, end=1)
    values = graph.node("Transpose", values, perm=[1, 0])
    for l, layer in enumerate(network.layers):
        values = _layer(graph, l, layer, values, samples)
        if network.curve and l + 1 < len(network.layers):
            values = _curve(graph, network.curve, values)
        elif network.slopes[l] != 1:
            values = graph.node("LeakyRelu", values, alpha=float(network.slopes[l]))
    values = graph.node("Transpose", values, perm=[1, 0])
    last = {"classification": ("Softmax", {"axis": 1}), "multilabel": ("Sigmoid", {}), "regression": ("Identity", {})}
    operator, options = last[task]
    graph.node(operator, values, output=OUTPUTS[task], **options)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["samples", width])
        for name, width in (("features", network.sizes[0]), (OUTPUTS[task], network.sizes[-1]))
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "tsnn", ends[:1], ends[1:], graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="tsnn",
        producer_version=__version__,
    )  # fmt: skip
    names = {"classes": class_names, "features": feature_names}
    if texts := {key: "\n".join(values) for key, values in names.items() if values}:
        helper.set_model_props(model, texts)
    checker.check_model(model)
    return model


def _curve(graph: _Graph, curve: str, values: str) -> str:
    """Add an activation that is a curve; GELU of its parts, which the operators of this version do not have."""
    if curve == "tanh":
        return graph.node("Tanh", values)
    cubic, inner, half, one = (
        graph.constant(f"{name}_{values}", np.float32(value))
        for name, value in (("cubic", 0.044715), ("inner", np.sqrt(2 / np.pi)), ("half", 0.5), ("one", 1.0))
    )
    square = graph.node("Mul", values, values)
    factor = graph.node("Add", graph.node("Mul", square, cubic), one)
    tanh = graph.node("Tanh", graph.node("Mul", graph.node("Mul", values, factor), inner))
    return graph.node("Mul", graph.node("Mul", values, half), graph.node("Add", tanh, one))


def _cells(layer: Layer) -> int:
    return layer.topology.n_in * layer.topology.n_out


def _layer(graph: _Graph, l: int, layer: Layer, values: str, samples: str) -> str:
    """Add a layer that takes float32[n_in, samples] and gives float32[n_out, samples]."""
    t, bias = layer.topology, graph.constant(f"bias_{l}", layer.bias[:, None])
    rows = t.rows()
    if 4 * _cells(layer) <= BYTES_PER_CONNECTION * t.connections:
        matrix = np.zeros((t.n_out, t.n_in), np.float32)
        matrix[t.indices, rows] = layer.weights
        return graph.node("Add", graph.node("MatMul", graph.constant(f"weights_{l}", matrix), values), bias)
    sent = graph.node("Gather", values, graph.constant(f"inputs_{l}", rows.astype(np.int32)), axis=0)
    sent = graph.node("Mul", sent, graph.constant(f"weights_{l}", layer.weights[:, None]))
    shape = graph.node("Concat", graph.constant(f"neurons_{l}", np.array([t.n_out])), samples, axis=0)
    start = graph.node("Expand", bias, shape)
    targets = graph.constant(f"outputs_{l}", t.indices.astype(np.int64)[:, None])
    return graph.node("ScatterND", start, targets, sent, reduction="add")


class _Graph:
    """Nodes and constants as they are added; intermediate values are numbered."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, values: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, operator: str, *inputs: str, output: str = "", **options: Any) -> str:
        output = output or f"value_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **options))
        return output
