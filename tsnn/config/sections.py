"""Every setting of a run: default, range, help text, label, and whether it may be changed while the run trains.

The command line's options, the dashboard's form and live controls, TOML files, records and comparisons are derived from
these fields.
Paper sections refer to arXiv 2102.01732 unless another source is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

from tsnn.config.schema import Section, Slider, setting
from tsnn.errors import ConfigError
from tsnn.registry import ACTIVATIONS, OPTIMIZERS, PRUNING, REGROWTH, SCHEDULES

#: Cells of a table that stand for a missing value by default, in addition to empty ones.
MISSING_MARKS = (
    "NA", "N/A", "n/a", "na", "n.a.", "NaN", "nan", "NAN", "null", "NULL", "None", "<NA>", "NaT", "#N/A", "?", "-",
    "--", ".", "*", "#NA", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!",
)  # fmt: skip


@dataclass(frozen=True)
class DataConfig(Section):
    """Data to train on, and its preparation."""

    section: ClassVar[str] = "data"
    title: ClassVar[str] = "Data"

    name: str = setting(
        "fashion_mnist",
        "A known data set, or the path of a file: .npz, .npy, a table (.csv, .tsv, .txt, .data, compressed or not, "
        ".parquet, .feather, .arff, .xlsx), or a folder of Parquet or of .npy files (X.npy, y.npy).",
    )
    size: str = setting(
        "auto",
        "'small' is the part shipped with tsnn, 'full' the complete set; 'auto' takes the full set if it is "
        "already on this machine.",
        label="Size",
        choices=("auto", "small", "full"),
    )
    target: str | None = setting(None, "Target column of a table (default: the last column).")
    drop: tuple[str, ...] = setting((), "Columns of a table to leave out, by name: id,date.", label="Columns to drop")
    header: str = setting(
        "auto",
        "Whether the first line of a table holds the names of the columns: true, false, or auto, which tells by the "
        "cells below and refuses the file if it cannot.",
        choices=("auto", "true", "false"),
    )
    separator: str = setting(
        "auto",
        "Mark between the columns of a text table: comma, semicolon, tab, pipe, blanks or any character; auto takes "
        "the one that gives all lines the same number of columns.",
    )
    transpose: bool = setting(
        False, "Rows of a text table are features and columns are samples: the first column holds the names (genes)."
    )
    missing: str = setting(
        "refuse",
        "Samples with missing values: 'refuse' the data, 'drop_rows', or 'fill': numbers with the median of the "
        "training part, text with a category of its own. Rows without a target are dropped by both.",
        label="Missing values",
        choices=("refuse", "drop_rows", "fill"),
    )
    missing_marks: tuple[str, ...] = setting(
        MISSING_MARKS, "Cells of a table that stand for a missing value, in addition to empty ones."
    )
    task: str = setting(
        "auto",
        "Kind of prediction; 'auto' infers it from the labels.",
        choices=("auto", "classification", "regression", "multilabel"),
    )
    test_fraction: float = setting(
        1 / 3, "Fraction of the samples kept for testing where there is no official split.", above=0, below=1
    )
    validation_fraction: float = setting(
        0.0,
        "Fraction of the training samples in the validation split: it chooses the epoch by which runs are compared; "
        "0 makes none.",
        at_least=0,
        below=1,
    )
    preprocessing: str = setting(
        "standard",
        "Scaling of the features, fitted on the training part only: 'standard' gives zero mean and unit variance, "
        "'relevance' multiplies that by the correlation with the targets (for many more features than samples), "
        "'root_relevance' by the root of it (for hundreds of samples and more); 'minmax' gives the range 0 to 1.",
        choices=("standard", "relevance", "root_relevance", "minmax", "none"),
    )
    stream: str = setting(
        "auto",
        "Whether features of .npy, .npz and Parquet files stay on the disk and are read batch by batch, with the same "
        "results: 'auto' if they would take more than 75 % of the free memory.",
        label="Stream from disk",
        choices=("auto", "always", "never"),
    )

    def __post_init__(self) -> None:
        header = cast(Any, self.header)
        if isinstance(header, bool):  # header = true in a TOML file
            object.__setattr__(self, "header", str(header).lower())
        super().__post_init__()


@dataclass(frozen=True)
class NetworkConfig(Section):
    """Initial network."""

    section: ClassVar[str] = "network"
    title: ClassVar[str] = "Network"

    hidden: tuple[int, ...] = setting(
        (1000, 1000, 1000), "Neurons of each hidden layer.", label="Hidden layers", at_least=1
    )
    epsilon: float = setting(
        20.0,
        "Sparsity of the Erdős–Rényi start: a layer gets epsilon (n_in + n_out) connections "
        "(SET, Nature Communications 2018, Methods).",
        label="Epsilon ε",
        above=0,
        step=1.0,
        live=True,
        slider=Slider(1, 100),
    )
    density: tuple[float, ...] = setting(
        (),
        "Fraction of all possible connections that exist, instead of epsilon: one number for the network (0.05), or "
        "one for each layer (0.02,0.05,0.05,1). Empty: epsilon decides. Kept while the run trains, or reached "
        "(training.start_factor).",
        label="Density (empty: by ε)",
        above=0,
        at_most=1,
    )
    allocation: str = setting(
        "erdos_renyi",
        "Division of the connections among the layers: 'erdos_renyi' in proportion to n_in + n_out (with one density "
        "ERK, arXiv 1911.11134: layers that would be more than dense are dense), 'uniform' at equal densities.",
        choices=("erdos_renyi", "uniform"),
        display={"erdos_renyi": "Erdős–Rényi"},
    )
    activation: str = setting("all_relu", "Activation of the hidden layers.", choices=ACTIVATIONS)
    alpha: float = setting(
        0.6,
        "Negative slope of All-ReLU (with alternating sign) and of leaky ReLU.",
        label="Alpha (slope)",
        at_least=0,
        at_most=10,
    )
    initializer: str = setting(
        "he_uniform",
        "Distribution of the weights at the start and of regrown connections: 'he_uniform' U(-l, l) with l = "
        "sqrt(6 / n_in), 'xavier_uniform' with l = sqrt(6 / (n_in + n_out)), of the neurons of a dense layer; "
        "'he_uniform_sparse' and 'xavier_uniform_sparse' at the start of the connections that each neuron has (arXiv "
        "2010.03533): larger, so that very sparse networks learn from the first epoch; 'normal' 0.1 N(0, 1).",
        choices=("he_uniform", "he_uniform_sparse", "xavier_uniform", "xavier_uniform_sparse", "normal"),
        display={
            "he_uniform": "He uniform",
            "he_uniform_sparse": "sparse He uniform",
            "xavier_uniform": "Xavier uniform",
            "xavier_uniform_sparse": "sparse Xavier uniform",
        },
    )
    dropout: float = setting(
        0.3,
        "Fraction of the hidden neurons dropped at random in each training step.",
        at_least=0,
        below=1,
        live=True,
        slider=Slider(0, 0.9, 0.05),
    )
    dropout_schedule: str = setting("constant", "Factor of dropout while the run trains.", choices=SCHEDULES)

    def __post_init__(self) -> None:
        super().__post_init__()
        layers = len(self.hidden) + 1
        if len(self.density) not in (0, 1, layers):
            raise ConfigError(
                f"network.density must be one number, or one for each of the {layers} layers of connections; got "
                f"{len(self.density)}."
            )
        if len(self.density) > 1 and self.allocation != "erdos_renyi":
            raise ConfigError(
                f"network.density gives each layer its own number, so network.allocation={self.allocation!r} has "
                "nothing to divide. Give one density, or leave the allocation out."
            )


@dataclass(frozen=True)
class TrainingConfig(Section):
    """Training of the weights and the evolution of the topology."""

    section: ClassVar[str] = "training"
    title: ClassVar[str] = "Training and evolution"

    method: str = setting(
        "set",
        "How sparse the network is, and when: 'set' evolves a sparse topology, 'fixed' keeps the Erdős–Rényi start, "
        "'dense' has every connection; 'two_phase' is dense for half of the epochs, then pruned by magnitude to the "
        "number of connections that epsilon or density grants, and retrained (arXiv 1901.09181).",
        choices=("set", "fixed", "dense", "two_phase"),
        display={"set": "SET (evolving)", "fixed": "fixed random", "two_phase": "prune, then retrain"},
    )
    epochs: int = setting(100, "Passes over the training part.", at_least=1)
    batch_size: int = setting(128, "Samples per training step; the last step of an epoch may have fewer.", at_least=1)
    precision: str = setting(
        "float32",
        "How activations and their gradients are stored: 'bfloat16' halves their memory, and the traffic that limits "
        "speed; weights, sums and losses stay float32, but products take weights rounded to 16 bits.",
        choices=("float32", "bfloat16"),
    )
    augmentation: str = setting(
        "none",
        "Random changes of images in training: 'flip' mirrors half of them in each epoch, 'affine' rotates them by up "
        "to 10 degrees and shifts them by up to a tenth, 'images' does both (CIFAR-10 in the papers). Digits and "
        "letters must not be mirrored.",
        choices=("none", "flip", "affine", "images"),
    )
    augmentation_strength: float = setting(1.0, "Factor of augmentation's angles and shifts.", above=0, at_most=9)
    optimizer: str = setting("sgd", "How a gradient changes the weights.", choices=OPTIMIZERS)
    learning_rate: float = setting(
        0.01,
        "Step size eta.",
        label="Learning rate η",
        above=0,
        step=0.005,
        live=True,
        slider=Slider(1e-5, 1.0, logarithmic=True),
    )
    learning_rate_schedule: str = setting(
        "constant",
        "Factor of the learning rate while the run trains, step by step (with workers, epoch by epoch).",
        choices=SCHEDULES,
    )
    warmup_epochs: int = setting(0, "Epochs in which the learning rate rises from 0, in a straight line.", at_least=0)
    momentum: float = setting(0.9, "Momentum mu of the optimizer.", at_least=0, below=1)
    weight_decay: float = setting(
        2e-4,
        "Decay lambda of every weight at every step, w <- w - lambda w, not multiplied by the learning rate.",
        at_least=0,
        below=1,
        step=1e-4,
    )
    weight_decay_schedule: str = setting("constant", "Factor of the decay while the run trains.", choices=SCHEDULES)
    zeta: float = setting(
        0.3,
        "Fraction of each layer's connections that SET prunes and regrows at every evolution; 0 keeps the topology.",
        label="Zeta ζ",
        at_least=0,
        below=1,
        live=True,
        slider=Slider(0, 0.9, 0.01),
    )
    zeta_schedule: str = setting("constant", "Factor of zeta while the run trains.", choices=SCHEDULES)
    evolve_every: float = setting(
        1.0,
        "Epochs from one evolution to the next: 0.1 evolves ten times in an epoch, between two batches (with workers "
        "only whole numbers).",
        label="Evolve every … epochs",
        at_least=1e-6,
        step=0.5,
    )
    evolve_until: float = setting(
        1.0, "Fraction of the epochs after which the topology stays as it is.", at_least=0, at_most=1, step=0.05
    )
    start_factor: float = setting(
        1.0,
        "The network begins with this multiple of the connections that epsilon or density grants; of method 'set'. Its "
        "smallest weights are pruned by a cubic until evolve_until, in every layer (arXiv 1710.01878; with regrowth, "
        "zeta > 0, as GraNet, arXiv 2106.10404).",
        label="Connections at the start, times those granted",
        at_least=1,
    )
    prune: str = setting("signed", "Which connections evolution prunes.", label="Pruning", choices=PRUNING, live=True)
    regrow: str = setting("random", "Where evolution grows new ones.", label="Regrowth", choices=REGROWTH, live=True)
    new_weights: str = setting(
        "drawn",
        "Weights of new connections: 'drawn' from the initializer's distribution (SET), or 'zero' (RigL).",
        choices=("drawn", "zero"),
    )
    chain_removal: bool = setting(
        False,
        "Evolution also replaces connections that lead nowhere: from neurons without inputs, and to neurons without "
        "outputs (CHT, arXiv 2501.19107).",
    )


@dataclass(frozen=True)
class ImportanceConfig(Section):
    """Importance pruning of hidden neurons (section 3.3)."""

    section: ClassVar[str] = "importance"
    title: ClassVar[str] = "Importance pruning"

    percentile: float = setting(
        0.0,
        "Hidden neurons up to this percentile of importance are pruned; 0: none (reference: 20, in parallel 10).",
        label="Importance percentile (0 = off)",
        at_least=0,
        below=100,
        step=5.0,
        live=True,
        slider=Slider(0, 95),
    )
    scope: str = setting(
        "layer",
        "Which neurons are compared: 'layer' prunes the same fraction of every hidden layer (section 3.3); 'network' "
        "ranks those of all together, which prunes more of the later layers (on Fashion-MNIST at a smaller loss).",
        choices=("layer", "network"),
    )
    start: int = setting(
        200, "First epoch of importance pruning (reference: 200 of 500).", label="First epoch", at_least=1
    )
    every: int = setting(
        10, "Epochs between two prunings (reference: 10 sequential, 20 parallel).", label="Every … epochs", at_least=1
    )


@dataclass(frozen=True)
class ParallelConfig(Section):
    """Training by several processes: a server and its workers, over MPI (section 3.4)."""

    section: ClassVar[str] = "parallel"
    title: ClassVar[str] = "Parallel training"

    workers: int = setting(0, "Worker processes, in addition to the server. 0: train in one process.", at_least=0)
    mode: str = setting(
        "wasap",
        "How the workers' gradients are applied: 'wasap' applies each at once; 'wassp' waits for all and applies their "
        "mean; 'local' lets each worker train its own copy and averages the copies periodically (local SGD, arXiv "
        "1805.09767). Where means are taken, the learning rate is multiplied by the number of workers.",
        choices=("wasap", "wassp", "local"),
    )
    phase1_fraction: float = setting(
        0.7,
        "Fraction of the epochs in which the workers train one model (phase 1). In the rest each trains its own copy "
        "on its shard of the data, evolved after the same number of batches as in phase 1; at the end the copies are "
        "averaged (phase 2).",
        label="Phase 1 (fraction of epochs)",
        at_least=0,
        at_most=1,
    )
    warmup: int = setting(
        5, "Epochs until 'wassp' and 'local' reach the multiplied learning rate (arXiv 1706.02677).",
        label="Warm-up of workers", at_least=0,
    )  # fmt: skip
    period: int = setting(16, "Batches between two averagings of 'local'.", at_least=1)


@dataclass(frozen=True)
class RunConfig(Section):
    """Execution of the run; only the seed and the micro-batch change results."""

    section: ClassVar[str] = "run"
    title: ClassVar[str] = "Run"

    seed: int = setting(0, "Same seed, same bits: on one machine, for any number of threads.", at_least=0)
    threads: int = setting(0, "Threads of the kernels; 0: all available cores.", at_least=0)
    micro_batch: int = setting(
        0,
        "Samples of a batch that are processed at a time: fewer take less memory and change rounding only; "
        "0 takes the number that is fastest. A run that does not fit into the free memory is refused with the number "
        "that does.",
        at_least=0,
    )
    compact: bool = setting(
        False, "Omit the transposed index of the forward pass: 12 instead of 20 bytes per connection, more time."
    )
    ignore_memory: bool = setting(False, "Start even if the run is expected not to fit into the free memory.")
    checkpoint_minutes: float = setting(
        1.0,
        "Minutes between two checkpoints, from which 'tsnn resume' continues; more if writing them would take over 5 % "
        "of the time. Parallel runs write one after every epoch, within that limit. 0: one at the run's end only.",
        at_least=0,
    )
    checkpoint_epochs: int = setting(
        0, "Epochs after which a checkpoint is written in any case; 0: only by the minutes.", at_least=0
    )
    checkpoint_mb: float = setting(
        200.0,
        "Disk space in MiB for checkpoints of earlier epochs, from which 'tsnn fork' continues with other settings: as "
        "many as fit, at most 16, geometrically spaced. The newest two are always kept. 0: only those.",
        label="Checkpoints to fork from (MiB)",
        at_least=0,
    )
    rule_seconds: float = setting(
        600.0,
        "Seconds after which a pruning or regrowth rule, a schedule or a step of an optimizer that is not built in is "
        "interrupted, and the run fails; 0: never.",
        at_least=0,
    )
    measures: bool = setting(
        False,
        "Gather at the end of every epoch, for each layer, the ITOP rate (fraction of all places that have ever had a "
        "connection; arXiv 2102.02887) and the gradient flow (arXiv 2010.03533). Changes no result; time is shown.",
        label="Measures while training",
    )
    snapshots: int = setting(
        200, "Snapshots of the topology kept for replay; longer runs space them geometrically.", at_least=2
    )
