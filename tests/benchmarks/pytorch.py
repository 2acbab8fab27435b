"""Peers based on PyTorch: dense, masked, CSR weights, and sparselab.

On processors that are not Intel's, the MKL inside PyTorch takes a generic path for dense products. `UnlockedDense`
is the same network with that decision overruled in memory: the best that this machine can do.
"""

import ctypes
import itertools
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tests.benchmarks.workloads import DECAY, DROPOUT, MOMENTUM, RATE

warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")


class AllReLU(nn.Module):
    """All-ReLU, then dropout."""

    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def forward(self, z):
        return functional.dropout(functional.leaky_relu(z, self.slope), DROPOUT, self.training)


class Dense:
    """Dense network: nn.Linear, autograd, SGD."""

    def __init__(self, workload, x, y):
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)
        modules = [self.layer(*shape, count) for shape, count in zip(workload.shapes, workload.layers, strict=True)]
        between = [AllReLU(slope) for slope in workload.slopes]
        pairs = itertools.zip_longest(modules, between)
        self.model = nn.Sequential(*[module for pair in pairs for module in pair if module is not None])
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)

    def layer(self, n_in, n_out, connections):
        return nn.Linear(n_in, n_out)

    def step(self, chosen):
        rows = torch.from_numpy(chosen)
        self.optimizer.zero_grad()
        functional.cross_entropy(self.model(self.x[rows]), self.y[rows]).backward()
        self.optimizer.step()

    @torch.inference_mode()
    def predict(self, sample):
        self.model.eval()
        self.model(torch.from_numpy(sample))
        self.model.train()


class UnlockedDense(Dense):
    """`Dense` on MKL's Intel path."""

    def __init__(self, workload, x, y):
        if "GenuineIntel" in Path("/proc/cpuinfo").read_text():
            raise ImportError("nothing to unlock on this processor", name="AMD processor")
        unlock_mkl()
        super().__init__(workload, x, y)


class Masked(Dense):
    """Simulated sparsity: dense weights times a mask of 0 and 1."""

    def layer(self, n_in, n_out, connections):
        return MaskedLinear(n_in, n_out, connections)


class MaskedLinear(nn.Linear):
    def __init__(self, n_in, n_out, connections):
        super().__init__(n_in, n_out)
        self.register_buffer("mask", (torch.rand(n_out, n_in) < connections / (n_in * n_out)).float())

    def forward(self, x):
        return functional.linear(x, self.weight * self.mask, self.bias)


class SparseLab(Dense):
    """sparselab 0.2.2 (MIT), the strongest sparse peer on PyPI; its random masks have this density on average."""

    def __init__(self, workload, x, y):
        import sparselab

        self.lab = sparselab
        super().__init__(workload, x, y)
        self.set = sparselab.SET(
            sparsity=1 - workload.connections / sum(a * b for a, b in workload.shapes), drop_fraction=0.3
        )
        self.model[:-1].apply(self.set)

    def layer(self, n_in, n_out, connections):
        if connections == n_in * n_out:
            return nn.Linear(n_in, n_out)
        return self.lab.SparseLinear(n_in, n_out, sparsity=1 - connections / (n_in * n_out))

    def evolve(self):
        self.set.update()


class Csr(Dense):
    """PyTorch's CSR tensors under autograd."""

    def __init__(self, workload, x, y):
        self.patterns = workload.patterns()
        super().__init__(workload, x, y)

    def layer(self, n_in, n_out, connections):
        return CsrLinear(n_in, n_out, next(self.patterns))


class CsrLinear(nn.Module):
    def __init__(self, n_in, n_out, keys):
        super().__init__()
        self.shape, self.rows, self.columns, _ = transposed(n_in, n_out, keys)
        self.values, self.bias = nn.Parameter(0.1 * torch.randn(len(keys))), nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        weights = torch.sparse_csr_tensor(self.rows, self.columns, self.values, self.shape)
        return (weights @ x.t()).t() + self.bias


class CsrByHand:
    """The best that PyTorch's CSR products allow: neuron-major, forward and backward written out, both orientations."""

    def __init__(self, workload, x, y):
        self.x, self.y, self.slopes = torch.from_numpy(x), torch.from_numpy(y), workload.slopes
        self.layers = [CsrLayer(*shape, keys) for shape, keys in zip(workload.shapes, workload.patterns(), strict=True)]

    def step(self, chosen):
        rows = torch.from_numpy(chosen)
        a, inputs, factors = self.x[rows].t().contiguous(), [], []
        for layer, slope in itertools.zip_longest(self.layers, self.slopes):
            inputs.append(a)
            a = layer.forward(a)
            if slope is not None:
                kept = torch.empty_like(a).bernoulli_(1 - DROPOUT).div_(1 - DROPOUT)
                factors.append((a > 0).float().mul_(1 - slope).add_(slope).mul_(kept))
                a = a * factors[-1]
        delta = torch.softmax(a, 0)
        delta[self.y[rows], torch.arange(len(rows))] -= 1
        delta /= len(rows)
        for l in reversed(range(len(self.layers))):
            below = self.layers[l].product(delta).mul_(factors[l - 1]) if l else None
            self.layers[l].update(inputs[l], delta)
            delta = below


class CsrLayer:
    """Weights in CSR by input neuron; the forward product takes them in the order of the transposed pattern."""

    def __init__(self, n_in, n_out, keys):
        rows, columns = np.divmod(keys, n_out)
        self.shape = n_in, n_out
        self.rows = torch.from_numpy(np.searchsorted(rows, np.arange(n_in + 1)).astype(np.int32))
        self.columns = torch.from_numpy(columns.astype(np.int32))
        self.transposed_shape, self.t_rows, self.t_columns, self.order = transposed(n_in, n_out, keys)
        self.weights, self.bias = 0.1 * torch.randn(len(keys)), torch.zeros(n_out, 1)
        self.velocity, self.bias_velocity = torch.zeros(len(keys)), torch.zeros(n_out, 1)

    def csr(self, values):
        return torch.sparse_csr_tensor(self.rows, self.columns, values, self.shape)

    def forward(self, a):
        values = self.weights[self.order]
        return (torch.sparse_csr_tensor(self.t_rows, self.t_columns, values, self.transposed_shape) @ a).add_(self.bias)

    def product(self, delta):
        return self.csr(self.weights) @ delta

    def update(self, a, delta):
        pattern = self.csr(torch.zeros_like(self.weights))
        gradient = torch.sparse.sampled_addmm(pattern, a, delta.t(), beta=0).values()
        for weights, velocity, g in (
            (self.weights, self.velocity, gradient),
            (self.bias, self.bias_velocity, delta.sum(1, keepdim=True)),
        ):
            velocity.mul_(MOMENTUM).sub_(g, alpha=RATE)
            weights.mul_(1 - DECAY).add_(velocity)


def transposed(n_in, n_out, keys):
    """Shape, row pointers, columns, and order of the connections, of the pattern by output neuron."""
    rows, columns = np.divmod(keys, n_out)
    order = np.argsort(columns, kind="stable")
    pointers = np.searchsorted(columns[order], np.arange(n_out + 1))
    arrays = pointers, rows[order], order  # 32 bits are what MKL takes without converting
    return (n_out, n_in), *(torch.from_numpy(array.astype(np.int32)) for array in arrays)


def unlock_mkl():
    """Make MKL detect an Intel processor, before its first detection."""
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
    yes = b"\xb8\x01\x00\x00\x00\xc3"  # mov eax, 1; ret
    for name in ("mkl_serv_intel_cpu_true", "mkl_serv_intel_cpu"):
        try:
            address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value
        except AttributeError:
            continue
        page = address & -4096
        if ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(page), ctypes.c_size_t(8192), 7):
            raise ImportError("the system forbids it", name="permission to unlock MKL")
        ctypes.memmove(address, yes, len(yes))
