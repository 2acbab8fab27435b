"""Catalogue of the data sets that have a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_FASHION = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
_CIFAR = "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck"


@dataclass(frozen=True)
class Known:
    """A data set that tsnn knows by name, counted in its complete form.

    Attributes
    ----------
    title : str
        One line about it.
    n_train, n_test : int
        Samples of the official parts; ``n_test`` is 0 where there is no official split.
    n_features, n_classes : int
        Widths of the input and the output layer.
    image_shape : tuple of int, or None
        As in :class:`tsnn.datasets.Dataset`.
    class_names : tuple of str
        Names of the labels 0, 1, 2, ...; empty where the labels name themselves.
    aliases : mapping of str to str
        Other stems of its file in TSNN_DATA, and how those differ.
    openml : int or None
        Its number at OpenML.
    openml_note : str
        How OpenML's version differs.
    bundled : str
        The part that comes with the package: "part", "complete" or "".
    """

    title: str
    n_train: int
    n_test: int
    n_features: int
    n_classes: int
    image_shape: tuple[int, ...] | None = None
    class_names: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    openml: int | None = None
    openml_note: str = ""
    bundled: str = ""


KNOWN: dict[str, Known] = {
    "fashion_mnist": Known(
        "Fashion-MNIST: pictures of clothes", 60_000, 10_000, 784, 10, (28, 28), tuple(_FASHION.split(",")),
        openml=40996, bundled="part",
    ),
    "digits": Known(
        "Digits: handwritten, tiny, trains in seconds", 1297, 500, 64, 10, (8, 8), bundled="complete",
    ),
    "mnist": Known("MNIST: handwritten digits", 60_000, 10_000, 784, 10, (28, 28), openml=554),
    "cifar10": Known(
        "CIFAR-10: colour photographs", 50_000, 10_000, 3072, 10, (3, 32, 32), tuple(_CIFAR.split(",")),
        {"cifar10_jpeg": "JPEG re-encoded, lossy"}, openml=40927,
    ),
    "madelon": Known("Madelon: 20 useful features among 480 of noise", 2000, 600, 500, 2, bundled="complete"),
    "higgs": Known(
        "HIGGS: particle collisions", 98_050, 0, 28, 2,
        aliases={"higgs_10k": "subset, 10,000 / 5,000 samples"}, openml=23512,
        openml_note="98,050 of 11 million samples, rows with missing values left out",
    ),
    "leukemia": Known(
        "Leukemia (Golub 1999): gene expression", 72, 0, 7129, 2, openml=1104,
        openml_note="7,129 genes as measured; the ASU file has 7,070, discretised",
    ),
    "allaml": Known("ALL-AML (Golub 1999): gene expression", 72, 0, 7129, 2),
    "lung_discrete": Known("Lung: gene expression, discretised", 73, 0, 325, 7),
    "colon": Known("Colon: gene expression", 62, 0, 2000, 2),
    "dm_chowdary": Known("Chowdary: gene expression of tumours", 104, 0, 22_283, 2),
    "pcmac": Known("PCMAC: word counts of two newsgroups", 1943, 0, 3289, 2),
    "coil20": Known("COIL-20: objects seen from all sides", 1440, 0, 1024, 20, (32, 32)),
}  # fmt: skip
