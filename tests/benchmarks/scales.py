"""Scales of the reproduction: complete, for a night of one core, and reduced."""

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Sizes of the reproduction's tables.

    Attributes
    ----------
    name, text : str
        Its folder, and what was cut.
    size : str
        Part of Fashion-MNIST, as in ``data.size``, but of the presets and of the time to accuracy.
    seeds, dense_seeds : int
        Seeds, and those of accuracy against density and of the papers' settings beside presets.
    epochs, dense_epochs, density_epochs, parallel_epochs : int
        Epochs.
    few_epochs : tuple of int
        Epochs of the networks with few connections.
    cifar_epochs, cifar_plain_epochs, cifar_dense_epochs : int
        Epochs on CIFAR-10: of augmented images, of others, and of a dense network, 0 for none.
    cifar_dropout : float
        Dropout with augmented images: the longer, the more.
    search, dense_search : int
        Epochs in which a learning rate is chosen.
    epsilons, rates, dense_rates : tuple of float
        Of accuracy against density; learning rates of sparse and of dense networks, in which a sum has more terms.
    preset_data : dict of str to tuple of int
        Data sets of the presets, and their numbers of epochs.
    microarrays : tuple of str
        Data sets with more features than samples.
    madelon_seeds : int
        Seeds of Madelon.
    """

    name: str
    text: str
    size: str
    seeds: int
    dense_seeds: int
    epochs: int
    dense_epochs: int
    density_epochs: int
    parallel_epochs: int
    few_epochs: tuple[int, ...]
    cifar_epochs: int
    cifar_plain_epochs: int
    cifar_dense_epochs: int
    cifar_dropout: float
    search: int
    dense_search: int
    epsilons: tuple[float, ...]
    rates: tuple[float, ...]
    dense_rates: tuple[float, ...]
    preset_data: dict[str, tuple[int, ...]]
    microarrays: tuple[str, ...]
    madelon_seeds: int = 5

    def with_seeds(self, seeds):
        """Return a copy with this number of seeds."""
        return dataclasses.replace(self, seeds=seeds, dense_seeds=seeds, madelon_seeds=seeds)


MICROARRAYS = ("leukemia", "allaml", "colon", "lung_discrete", "dm_chowdary")
FULL = Scale(
    name="full",
    text="complete, with 200 epochs of sparse and 60 of dense networks where the papers used 500; 1000 on CIFAR-10, 15 "
    "of the dense network.",
    size="full", seeds=3, dense_seeds=3, epochs=200, dense_epochs=60, density_epochs=60, parallel_epochs=60,
    few_epochs=(20, 60), cifar_epochs=1000, cifar_plain_epochs=100, cifar_dense_epochs=15, cifar_dropout=0.2,
    search=15, dense_search=10, epsilons=(1.0, 3.0, 8.0, 20.0, 60.0), rates=(0.01, 0.03, 0.05, 0.1),
    dense_rates=(0.01, 0.03, 0.1),
    preset_data={"fashion_mnist": (15, 60), "madelon": (60,), "higgs": (45,), "mnist": (30,), "cifar10": (30,)},
    microarrays=MICROARRAYS,
)  # fmt: skip
QUICK = Scale(
    name="quick",
    text="reduced. Cut: 60 epochs of sparse and 20 of dense networks where the papers used 500, two learning rates, "
    "tried for 5 epochs (of dense networks 3), one seed of accuracy against density, 30 epochs and one seed of "
    "CIFAR-10, 4 to 20 epochs of peers.",
    size="full", seeds=3, dense_seeds=1, epochs=60, dense_epochs=20, density_epochs=20, parallel_epochs=20,
    few_epochs=(20, 60), cifar_epochs=30, cifar_plain_epochs=30, cifar_dense_epochs=0, cifar_dropout=0.0, search=5,
    dense_search=3, epsilons=(1.0, 3.0, 20.0), rates=(0.03, 0.1), dense_rates=(0.01, 0.03),
    preset_data={"fashion_mnist": (15, 60), "madelon": (60,), "higgs": (45,), "mnist": (30,)}, microarrays=MICROARRAYS,
)  # fmt: skip
