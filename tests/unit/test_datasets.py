"""Data sets from arrays: validation, split, encoding, scaling; every bad array."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from tsnn.datasets import ArrayFeatures, as_features, load_dataset, make_artificial, make_dataset, shard
from tsnn.datasets.sparse import SparseFeatures
from tsnn.engine.network import init_network
from tsnn.engine.training import train
from tsnn.errors import ConfigError, DataError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def numbers(n: int = 12, width: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Integral features 0 to 255, which every dtype can hold, and labels 0, 1, 2."""
    return rng(7).integers(0, 256, (n, width)).astype(np.float64), np.arange(n) % 3


# --- arrays ------------------------------------------------------------------------------------------


class Sparse:
    """Stands for a SciPy matrix."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x

    def toarray(self) -> np.ndarray:
        return self.x


@pytest.mark.parametrize("preprocessing", ["standard", "minmax", "none"])
@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.astype(np.uint8),
        lambda x: x.astype(np.int64),
        lambda x: x.astype(np.float16),
        lambda x: x.astype(">f8"),
        lambda x: x.astype(">i2"),
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x.tolist(),
        pd.DataFrame,
        Sparse,
    ],
)
def test_make_dataset__gives_the_same_for_any_dtype_and_layout(
    convert: Callable[[np.ndarray], Any], preprocessing: str
) -> None:
    x, y = numbers()
    expected = make_dataset(x, y, preprocessing=preprocessing, rng=rng())
    data = make_dataset(convert(x), y, preprocessing=preprocessing, rng=rng())
    np.testing.assert_array_equal(data.x_train, expected.x_train)
    np.testing.assert_array_equal(data.x_test, expected.x_test)
    assert (data.digest, data.x_train.dtype) == (expected.digest, np.float32)
    assert data.x_train.values.flags.c_contiguous


def test_make_dataset__reads_memory_maps_and_leaves_inputs_unchanged(tmp_path: Path) -> None:
    x, y = numbers()
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for preprocessing in ("standard", "none"):
        data = make_dataset(mapped, y, mapped, y, preprocessing=preprocessing)
        assert data.x_train.values.flags.writeable
        assert not np.shares_memory(data.x_train, mapped)
        np.testing.assert_array_equal(mapped, x)


@pytest.mark.parametrize(
    ("shape", "image"),
    [((6, 2, 5), (2, 5)), ((6, 1, 2, 5), (2, 5)), ((6, 3, 2, 5), (3, 2, 5)), ((6, 5), None)],
)
def test_images__are_flattened_and_keep_their_shape(shape: tuple[int, ...], image: Any) -> None:
    data = make_dataset(rng().random(shape), [0, 1] * 3, rng=rng())
    assert data.image_shape == image
    assert data.n_features == np.prod(shape[1:])


def test_digest__differs_for_other_values() -> None:
    x, y = numbers()
    digest = make_dataset(x, y, rng=rng()).digest
    x[0, 0] += 1
    assert make_dataset(x, y, rng=rng()).digest != digest
    x[0, 0] -= 1
    assert make_dataset(x, np.roll(y, 1), rng=rng()).digest != digest
    assert make_dataset(x, y, rng=rng(5), preprocessing="none").digest == digest


# --- scaling -----------------------------------------------------------------------------------------


def test_standardisation__is_fitted_on_the_training_part_only() -> None:
    x, y = numbers(3000, 5)  # several blocks
    x_test = 1000 + 7 * x[:10]
    data = make_dataset(x, y, x_test, y[:10])
    np.testing.assert_allclose(data.x_train.values.mean(axis=0, dtype=float), 0, atol=1e-6)
    np.testing.assert_allclose(data.x_train.values.std(axis=0, dtype=float), 1, atol=1e-6)
    np.testing.assert_allclose(data.x_test, (x_test - x.mean(axis=0)) / x.std(axis=0), rtol=1e-5)
    other = make_dataset(x, y, -x_test, y[:10])
    np.testing.assert_array_equal(other.x_train, data.x_train)  # the test part has no influence


def test_standardisation__does_not_leak_through_a_drawn_split() -> None:
    x, y = numbers(300, 2)
    first = make_dataset(x, y, rng=rng())
    raw = make_dataset(x, y, rng=rng(), preprocessing="none")
    np.testing.assert_allclose(first.x_train.values.mean(axis=0, dtype=float), 0, atol=1e-6)
    expected = (raw.x_test - raw.x_train.values.mean(axis=0, dtype=float)) / raw.x_train.values.std(axis=0, dtype=float)
    np.testing.assert_allclose(first.x_test, expected, rtol=1e-4, atol=1e-5)
    assert abs(first.x_test.values.mean()) > 1e-4


def test_minmax__is_fitted_on_the_training_part_only() -> None:
    data = make_dataset([[0.0], [4.0]], [0, 1], [[2.0], [8.0]], [0, 1], preprocessing="minmax")
    assert data.x_train.values.ravel().tolist() == [0, 1]
    assert data.x_test.values.ravel().tolist() == [0.5, 2]


@pytest.mark.parametrize("preprocessing", ["standard", "minmax"])
@pytest.mark.parametrize("constant", [0.1, 0.0, 1e30, -7.3])
def test_scaling__makes_constant_features_zero(preprocessing: str, constant: float) -> None:
    x, y = numbers(30)
    x[:, 1] = constant
    x_test = x[:4] + 5
    data = make_dataset(x, y, x_test, y[:4], preprocessing=preprocessing)
    assert not data.x_train[:, 1].any()
    assert not data.x_test[:, 1].any()
    assert np.isfinite(data.x_train).all()
    assert data.x_train[:, 0].any()


def test_scaling__keeps_the_variation_of_features_far_from_zero() -> None:
    x = 1.6e9 + rng().random((2000, 1))
    data = make_dataset(x, np.arange(2000) % 2, x[:5], [0, 1, 0, 1, 0])
    np.testing.assert_allclose(data.x_train, (x - x.mean()) / x.std(), atol=1e-5)


def test_scaling__warns_about_unscaled_wide_features(caplog: pytest.LogCaptureFixture) -> None:
    x, y = numbers()
    make_dataset(x / 255, y, rng=rng(), preprocessing="none")
    assert not caplog.records
    make_dataset(x, y, rng=rng(), preprocessing="none")
    assert "unscaled" in caplog.text


# --- split -------------------------------------------------------------------------------------------


def labelled(counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Samples that carry their row number as the only feature, sorted by class."""
    y = np.repeat(np.arange(len(counts)), counts)
    return np.arange(len(y), dtype=float).reshape(-1, 1), y


def test_split__is_stratified_complete_and_in_random_order() -> None:
    x, y = labelled([60, 30, 9])
    data = make_dataset(x, y, rng=rng(), preprocessing="none")
    assert np.bincount(data.y_train).tolist() == [40, 20, 6]
    assert np.bincount(data.y_test).tolist() == [20, 10, 3]
    rows = np.concatenate([data.x_train, data.x_test]).ravel().astype(int)
    assert sorted(rows) == list(range(99))
    np.testing.assert_array_equal(y[rows], np.concatenate([data.y_train, data.y_test]))
    assert (np.diff(data.y_train) < 0).any()  # so that shards of consecutive rows hold every class
    assert data.source == "arrays in memory; no official split: 66 / 33 drawn"


@pytest.mark.parametrize("given", [True, False])
def test_validation_split__is_kept_from_training_and_scaling(given: bool) -> None:
    x, y = labelled([60, 30, 9])
    test = {"x_test": x[:10] - 1000, "y_test": y[:10]} if given else {}
    data = make_dataset(x, y, **test, validation_fraction=1 / 3, rng=rng(), preprocessing="none")
    parts = [(data.x_train, data.y_train), (data.x_validation, data.y_validation)]
    parts += [] if given else [(data.x_test, data.y_test)]
    rows = np.concatenate([np.asarray(part).ravel() for part, _ in parts]).astype(int)
    assert sorted(rows) == list(range(99))
    np.testing.assert_array_equal(y[rows], np.concatenate([targets for _, targets in parts]))
    assert np.bincount(data.y_validation).tolist() == ([20, 10, 3] if given else [13, 7, 2])
    scaled = make_dataset(x, y, **test, validation_fraction=1 / 3, rng=rng())
    assert abs(np.asarray(scaled.x_train).mean(dtype=float)) < 1e-6
    assert abs(np.asarray(scaled.x_validation).mean(dtype=float)) > 1e-4


def test_validation_split__too_small_is_refused() -> None:
    x, y = labelled([3, 3])
    with pytest.raises(DataError, match="Raise validation_fraction"):
        make_dataset(x, y, x, y, validation_fraction=0.01, rng=rng())


def test_split__depends_on_the_generator_alone() -> None:
    x, y = labelled([20, 20])
    first, again, other = (make_dataset(x, y, rng=rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.x_train, again.x_train)
    np.testing.assert_array_equal(first.x_test, again.x_test)
    assert not np.array_equal(first.x_test, other.x_test)


@pytest.mark.parametrize(
    ("counts", "fraction", "in_test"),
    [
        ([1, 20], 1 / 3, 7),
        ([3, 3, 3, 3, 3], 0.5, 8),
        ([10, 10], 0.99, 18),
        ([50, 50], 0.02, 2),
        ([7, 8], 0.25, 4),
    ],
)
def test_split__keeps_every_class_in_training(counts: list[int], fraction: float, in_test: int) -> None:
    x, y = labelled(counts)
    data = make_dataset(x, y, test_fraction=fraction, rng=rng())
    assert np.bincount(data.y_train).min() >= 1
    assert len(data.y_test) == in_test


def test_split__of_regression_has_no_strata() -> None:
    data = make_dataset(numbers(30)[0], rng().random(30), test_fraction=0.2, rng=rng())
    assert (len(data.y_train), len(data.y_test)) == (24, 6)


# --- targets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["cat", "dog", "ant"], ("ant", "cat", "dog")),
        (np.array([b"cat", b"dog", b"ant"]), ("ant", "cat", "dog")),
        (np.array(["cat", "dog", "ant"], dtype=object), ("ant", "cat", "dog")),
        (np.array(["cat", "dog", "ant"], dtype=np.dtypes.StringDType()), ("ant", "cat", "dog")),
        (pd.Series(["cat", "dog", "ant"], dtype="category"), ("ant", "cat", "dog")),
        ([7, -1, 100], ("-1", "7", "100")),
        (np.array([7, -1, 100], dtype=">i8"), ("-1", "7", "100")),
        (np.array([1, 2, 3], dtype=object), ("1", "2", "3")),
        ([1.0, 2.0, 3.0], ("1", "2", "3")),
        ([True, False, True], ("False", "True")),
        ([[1], [2], [3]], ("1", "2", "3")),
    ],
)
def test_labels__of_any_kind_are_encoded(labels: Any, names: tuple[str, ...]) -> None:
    x = numbers(3)[0]
    data = make_dataset(x, labels, x, labels)
    assert data.task == "classification"
    assert data.class_names == names
    assert data.n_outputs == len(names)
    back = [data.class_names[code] for code in data.y_test]
    given = np.asarray(labels).ravel().tolist()
    assert back == [item.decode() if isinstance(item, bytes) else f"{item:.0f}" if type(item) is float else str(item)
                    for item in given]  # fmt: skip


@pytest.mark.parametrize(
    ("y", "task", "n_outputs"),
    [
        (np.arange(40) % 4, "classification", 4),
        (np.arange(40) % 4 + 0.0, "classification", 4),
        (np.arange(40) / 8, "regression", 1),
        (np.arange(400.0), "regression", 1),  # integral, but too many to be classes
        (np.arange(120).reshape(40, 3) % 2, "multilabel", 3),
        (np.arange(120).reshape(40, 3) % 2 == 0, "multilabel", 3),
        (np.arange(120.0).reshape(40, 3), "regression", 3),
    ],
)
def test_task__is_derived_from_the_labels(y: np.ndarray, task: str, n_outputs: int) -> None:
    data = make_dataset(rng().random((len(y), 2)), y, rng=rng())
    assert (data.task, data.n_outputs) == (task, n_outputs)
    if task != "classification":
        assert data.y_train.dtype == data.y_test.dtype == np.float32
        assert data.y_train.shape[1] == n_outputs
        assert data.class_names == ()


def test_targets__of_regression_are_scaled_on_the_training_part() -> None:
    y = np.array([[1e9 + 1, 5, 1], [1e9 + 2, 5, 2], [1e9 + 3, 5, 3], [1e9 + 4, 5, 6]])
    data = make_dataset(numbers(4)[0], y, numbers(4)[0], 2 * y, task="regression")
    np.testing.assert_allclose(data.y_train.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(data.y_train.std(axis=0), [1, 0, 1], atol=1e-6)
    assert data.target_scale is not None
    assert data.target_offset is not None
    assert data.target_scale[1] == 1, "a constant target"
    np.testing.assert_allclose(data.in_units(data.y_test), 2 * y, rtol=1e-6)
    classes = make_dataset(*numbers(), rng=rng())
    assert (classes.target_offset, classes.target_scale, classes.squared_units) == (None, None, None)


@pytest.mark.parametrize(
    ("y_train", "y_test", "task", "expected"),
    [
        ([0, 0, 1, 2], [0, 1, 0, 0, 2], "classification", 0.6),
        ([1, 1, 1, 0], [0, 0, 0, 1, 0], "classification", 0.2),
        ([[1, 0], [1, 0], [0, 0]], [[1, 0], [0, 1]], "multilabel", 0.5),
        ([1.5, 2.5, 3.5], [1.5, 2.5], "regression", None),
    ],
)
def test_baseline_accuracy__is_that_of_the_most_frequent_class(
    y_train: Any, y_test: Any, task: str, expected: float | None
) -> None:
    x, x_test = numbers(len(y_train))[0], numbers(len(y_test))[0]
    assert make_dataset(x, y_train, x_test, y_test, task=task).baseline_accuracy == expected


def test_class_names__belong_to_integer_labels() -> None:
    x = numbers(3)[0]
    assert make_dataset(x, [0, 2, 0], x, [0, 0, 2], class_names=["a", "b", "c"]).class_names == ("a", "c")
    with pytest.raises(DataError, match=r"labels 0 to 1, but the labels go from 0 to 2"):
        make_dataset(x, [0, 2, 0], x, [0, 0, 2], class_names=["a", "b"])


def test_labels__of_many_integer_classes_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    make_dataset(rng().random((404, 1)), np.arange(404) % 202, rng=rng())
    assert "202 different whole numbers are taken as 202 classes" in caplog.text
    assert "data.task=regression" in caplog.text


def counted(*counts: int) -> np.ndarray:
    return np.repeat(np.arange(len(counts)), counts)


@pytest.mark.parametrize(
    ("y", "warned"),
    [
        (counted(*range(1, 30)), True),  # rings, ages: few samples at the ends
        (counted(*range(1, 30)) + 0.0, True),
        (counted(*[2] * 11), False),
        (counted(*[1] * 9, 2, 2), True),  # as many numbers as samples, nearly
        (counted(*[10] * 40), False),  # 40 persons with 10 pictures each
        (counted(*[20, 25] * 13), False),  # letters
        (counted(*[3] * 60), True),
        (counted(3, 300, 20), False),
        (counted(*range(1, 30)).astype(str), False),
    ],
)
def test_labels__that_look_like_quantities_are_warned_about(
    y: np.ndarray, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    x = rng().random((len(y), 1))
    warnings = make_dataset(x, y, x, y).warnings
    assert ("data.task=regression" in caplog.text) == warned == bool(warnings)
    caplog.clear()
    make_dataset(x, y, x, y, task="classification")
    assert not caplog.text, "asked for"


def test_split__of_numbers_that_all_differ_suggests_regression() -> None:
    with pytest.raises(DataError, match=r"Of 60 samples none is left for the test part.*--set data\.task=regression"):
        make_dataset(rng().random((60, 2)), np.arange(60), rng=rng())
    with pytest.raises(DataError, match=r"none is left for the test part\. Raise test_fraction"):
        make_dataset(rng().random((60, 2)), np.arange(60) % 2, test_fraction=0.001, rng=rng())


# --- bad input ---------------------------------------------------------------------------------------

X, Y = numbers()
HOLES = np.where(np.indices(X.shape).sum(0) == 4, np.nan, X)


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        ({"x": HOLES}, ["x: 3 of 36 values", "row 2, column 2", "fill them"]),
        ({"x": HOLES, "feature_names": "abc"}, ["column 2 ('c')"]),
        ({"x": np.where(X[5, 1] == X, np.inf, X)}, ["1 of 36", "row 5, column 1"]),
        ({"x": np.where(X[5, 1] == X, 1e300, X)}, ["beyond float32", "row 5, column 1"]),
        ({"x": X, "x_test": HOLES, "y_test": Y}, ["x_test: 3 of 36"]),
        ({"x": X[:0], "y": Y[:0]}, ["(0, 3)", "no samples"]),
        ({"x": X[:, :0]}, ["(12, 0)", "no features"]),
        ({"x": X[:, 0]}, ["shape (12,)", "reshape(-1, 1)"]),
        ({"x": X.reshape(6, 2, 1, 1, 3)}, ["(6, 2, 1, 1, 3)", "expected (samples, features)"]),
        ({"x": np.zeros((12, 4, 4, 3))}, ["planes", "moveaxis"]),
        ({"x": X.astype(str)}, ["dtype <U", "expected numbers"]),
        ({"x": X.astype(object)}, ["dtype object"]),
        ({"x": X.astype(complex)}, ["dtype complex128"]),
        ({"x": [[1, 2], [3]]}, ["no rectangular array", "same length"]),
        ({"x": X[:5]}, ["y has 12 entries for 5 samples"]),
        ({"y": Y[:0]}, ["y has shape (0,)"]),
        ({"y": np.zeros((12, 2, 2))}, ["y has shape (12, 2, 2)"]),
        ({"y": np.zeros(12, dtype=int)}, ["All training labels are 0", "two classes"]),
        ({"y": [None, *Y[1:]]}, ["y: 1 entries are missing", "row 0"]),
        ({"y": pd.Series(Y, dtype="Int64").where(Y != 1)}, ["y: 4 values are NaN", "row 1"]),
        ({"y": pd.Series(["a", pd.NA, "b"] * 4, dtype=object)}, ["y: 4 entries are missing", "row 1"]),
        ({"y": np.where(Y == 1, np.nan, Y)}, ["y: 4 values are NaN", "row 1"]),
        ({"y": np.zeros(12, dtype="M8[s]")}, ["dtype datetime64", "expected labels or numbers"]),
        ({"y": Y.astype(str).reshape(6, 2), "x": X[:6]}, ["expected labels or numbers"]),
        ({"y": Y + 0.5, "task": "classification"}, ["0.5", "task='regression'"]),
        ({"y": 1 - np.eye(12), "task": "classification"}, ["shape (12, 12)", "task='multilabel'"]),
        ({"y": Y, "task": "multilabel"}, ["shape (samples, labels)", "(12,)"]),
        ({"y": 3 * np.eye(12), "task": "multilabel"}, ["0 and 1 only", "other values"]),
        ({"y": Y.astype(str), "task": "regression"}, ["Regression needs numbers", "<U"]),
        ({"y": Y * 1e300, "task": "regression"}, ["y: 8 of 12 values", "beyond float32"]),
        ({"x_test": X}, ["x_test and y_test belong together"]),
        ({"x_test": X[:, :2], "y_test": Y}, ["x_test has 2 features", "x has 3"]),
        ({"x_test": X, "y_test": Y[:3]}, ["y_test has 3 entries for 12"]),
        ({"x_test": X[:1], "y_test": Y[:1]}, ["test part has 1 samples", "at least 2"]),
        ({"x_test": X, "y_test": Y + 1}, ["4 test samples", "no training sample has", "such as 3"]),
        ({"x_test": X, "y_test": Y.astype(str)}, ["another kind"]),
        ({"x_test": X, "y_test": np.eye(12), "y": np.eye(12)[:, :5]}, ["12", "5"]),
        ({"x": X[:3], "y": Y[:3]}, ["Of 3 samples none is left for the test part", "more samples of each class"]),
        ({"test_fraction": 0.0}, ["test_fraction is 0.0", "between 0 and 1"]),
        ({"test_fraction": 1.0}, ["test_fraction is 1.0"]),
        ({"test_fraction": float("nan")}, ["test_fraction is nan"]),
        ({"rng": None}, ["give rng="]),
        ({"feature_names": ["a"]}, ["1 feature_names", "3 features"]),
        ({"image_shape": (2, 2)}, ["image_shape (2, 2)", "4 features, not 3"]),
    ],
)
def test_make_dataset__refuses_bad_arrays(arguments: dict[str, Any], fragments: list[str]) -> None:
    with pytest.raises(DataError) as error:
        make_dataset(**{"x": X, "y": Y, "rng": rng()} | arguments)
    for fragment in fragments:
        assert fragment in str(error.value)


@pytest.mark.parametrize("option", ["task", "preprocessing", "size"])
def test_load_dataset__names_unknown_choices(option: str) -> None:
    with pytest.raises(ConfigError, match=rf"{option} is 'best'; expected.*'"):
        load_dataset("madelon", rng=rng(), **{option: "best"})


def gathered(features):
    out = np.full((features.shape[1], -(-len(features) // 16) * 16), np.nan, np.float32)
    features.gather(np.arange(len(features)), out)
    assert (out[:, len(features) :] == 0).all()
    return out[:, : len(features)].T


@pytest.mark.compiled
def test_artificial_data__are_made_on_demand_and_the_same_every_time():
    data = make_artificial(np.random.default_rng(3), n_train=500, n_test=100, n_features=96)
    x, x_test = gathered(data.x_train), gathered(data.x_test)
    assert x.shape == data.x_train.shape == (500, 96)
    assert data.x_train.nbytes < 500 * 96
    some = np.empty((96, 16), np.float32)
    data.x_train.gather(np.array([7, 3, 7]), some)
    np.testing.assert_array_equal(some[:, :3].T, x[[7, 3, 7]])
    assert np.unique(x).size > 1000
    assert data.y_train.sum() == 250
    side = np.where(data.y_train, 1, -1) @ x / 500
    informative = np.flatnonzero(abs(side) > 0.5)
    assert len(informative) == 12
    noise = np.delete(x, informative, axis=1)
    assert abs(noise.mean()) < 0.02
    assert noise.std() == pytest.approx(1, abs=0.02)
    assert abs(np.delete(side, informative)).max() < 0.25
    correlations = np.corrcoef(noise.T)[np.triu_indices(84, 1)]
    assert abs(correlations).max() < 0.35
    again = make_artificial(np.random.default_rng(3), n_train=500, n_test=100, n_features=96)
    np.testing.assert_array_equal(gathered(again.x_test), x_test)
    assert again.digest == data.digest != make_artificial(np.random.default_rng(4)).digest


def test_artificial_data__have_the_papers_size():
    data = load_dataset("artificial", rng=np.random.default_rng(0))
    assert (data.x_train.shape, data.x_test.shape, data.n_outputs) == ((7000, 65_536), (3000, 65_536), 2)
    split = load_dataset("artificial", validation_fraction=0.1, rng=np.random.default_rng(0))
    assert split.x_train.shape == (6300, 65_536)
    assert split.x_validation.shape == (700, 65_536)
    with pytest.raises(DataError, match="one size and standardised"):
        load_dataset("artificial", preprocessing="minmax", rng=np.random.default_rng(0))


@pytest.mark.slow
@pytest.mark.compiled
def test_artificial_data__can_be_learned(tiny):
    data = make_artificial(np.random.default_rng(3), n_train=200, n_test=100, n_features=640)
    rng = np.random.default_rng(0)
    config = tiny.replace({"network.epsilon": 5, "training.learning_rate": 0.01, "training.epochs": 40})
    records = list(train(init_network(640, 2, config, rng=rng), data, config, rng=rng))
    assert records[-1].train_accuracy > 0.75 > records[0].train_accuracy


# --- features ----------------------------------------------------------------------------------------


def all_kinds() -> list[Any]:
    x = rng().normal(size=(40, 7)).astype(np.float32)
    made = make_artificial(np.random.default_rng(3), n_train=40, n_test=10, n_features=7)
    return [as_features(x), SparseFeatures.of(csr_array(np.where(x > 0, x, 0)), np.ones(7)), made.x_train]


@pytest.mark.parametrize("features", all_kinds(), ids=["array", "sparse", "artificial"])
def test_features__gather_selected_rows_like_all_rows(features: Any) -> None:
    every = gathered(features)
    rows = np.array([5, 3, 39, 5])
    some = features.rows(rows)
    assert (len(some), some.shape) == (4, (4, 7))
    np.testing.assert_array_equal(gathered(some), every[rows])
    np.testing.assert_array_equal(gathered(some.rows(np.array([2, 0]))), every[[39, 5]])


def test_array_features__can_be_used_like_the_array() -> None:
    x = numbers()[0].astype(np.float32)
    features = as_features(x)
    assert isinstance(features, ArrayFeatures)
    assert np.asarray(features) is x
    np.testing.assert_array_equal(features[:5], x[:5])
    np.testing.assert_array_equal(features[:, 1], x[:, 1])
    assert np.zeros_like(features).shape == features.shape == x.shape
    assert (len(features), features.nbytes, features.dtype) == (12, x.nbytes, np.float32)


def test_as_features__converts_what_is_not_float32_and_contiguous() -> None:
    x = numbers()[0]
    np.testing.assert_array_equal(np.asarray(as_features(x[:, ::-1])), x[:, ::-1].astype(np.float32))
    assert as_features(as_features(x)) is not None
    with pytest.raises(DataError, match=r"shape \(12,\); expected \(samples, features\)"):
        as_features(x[:, 0])


def test_data_set__wraps_arrays_that_are_put_into_it() -> None:
    data = make_dataset(*numbers(), rng=rng())
    part = replace(data, x_train=data.x_train[:3], y_train=data.y_train[:3])
    assert (len(part.x_train), part.n_features) == (3, 3)
    np.testing.assert_array_equal(gathered(part.x_train), data.x_train[:3])


def test_shards__are_disjoint_and_complete_with_their_weights() -> None:
    data = make_dataset(*numbers(30), rng=rng(), validation_fraction=0.2)
    data = replace(data, weights_train=np.arange(len(data.y_train), dtype=np.float32))
    shards = [shard(data, k, 3) for k in range(3)]
    assert sum(len(part.x_train) for part in shards) == len(data.x_train)
    for k, part in enumerate(shards):
        np.testing.assert_array_equal(gathered(part.x_train), data.x_train[k::3])
        np.testing.assert_array_equal(part.weights_train, data.weights_train[k::3])


def test_make_dataset__names_an_unknown_option() -> None:
    with pytest.raises(TypeError, match=r"no option 'test_fractoin'. Did you mean 'test_fraction'\?"):
        make_dataset(*numbers(), test_fractoin=0.2, rng=rng())
    with pytest.raises(TypeError, match=r"no option 'qq'. Known are task, test_fraction"):
        make_dataset(*numbers(), qq=0.2, rng=rng())
