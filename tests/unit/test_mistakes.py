"""Mistakes on the test part: counts, samples that are kept, the inputs that decided, and how snapshots hold them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tsnn.config import Config
from tsnn.datasets import make_dataset
from tsnn.engine import mistakes
from tsnn.engine.metrics import decision_values, evaluate_part
from tsnn.engine.mistakes import Examiner
from tsnn.engine.network import init_network
from tsnn.engine.state import TrainingState
from tsnn.engine.training import steps
from tsnn.engine.workspace import Workspace
from tsnn.execution.engine import execute
from tsnn.records import EpochRecord
from tsnn.snapshot import MAX_CONFUSED, MAX_PIXELS, Snapshot


def examined(data, config, rng, due=lambda epoch: True):
    """Return the fields about a network that was tested, and the network."""
    network = init_network(data.n_features, data.n_outputs, config, rng=rng)
    for layer in network.layers:
        layer.bias[:] = rng.normal(size=layer.topology.n_out) * 0.3
    workspace, examiner = Workspace(network.sizes, 16), Examiner(data, 0, due)
    result = evaluate_part(network, data, "test", workspace, examiner.answers)
    assert examiner.examine(network, 1, workspace) == examiner.seconds > 0
    assert examiner.arrays(2) == {}
    return examiner.arrays(1), network, result


def test_execute__snapshots_hold_the_confusion_of_the_tested_network(store, filed):
    run = store.create(filed)
    records = [item for item in execute(run) if isinstance(item, EpochRecord)]
    assert run.snapshot(0).test_counts is None, "nothing was tested yet"
    for record in records:
        snapshot = run.snapshot(record.epoch)
        confusion, counts, samples = snapshot.test_confusion, snapshot.test_counts, snapshot.test_samples
        assert confusion.sum() == run.meta()["data"]["n_test"]
        assert np.trace(confusion) / confusion.sum() == record.test_accuracy
        assert counts.tolist() == np.stack([confusion.sum(1), confusion.sum(0), np.diag(confusion)], 1).tolist()
        wrong = [(actual, predicted) for _, actual, predicted in samples.tolist() if actual != predicted]
        assert len(wrong) == confusion.sum() - np.trace(confusion), "all mistakes are kept, as there are few"
        assert record.seconds_examine > 0
    assert run.records() == [dataclasses.replace(record, events=()) for record in records]


def test_training__does_not_depend_on_the_examiner(blobs, tiny):
    weights = []
    for with_examiner in (False, True):
        rng = np.random.default_rng(1)
        network = init_network(blobs.n_features, blobs.n_outputs, tiny, rng=rng)
        state = TrainingState.begin(network, tiny, rng=rng)
        state.examiner = Examiner(blobs, 0, lambda epoch: True) if with_examiner else None
        for _ in steps(state, blobs):
            pass
        weights.append([array.tobytes() for layer in network.layers for array in (layer.weights, layer.velocity)])
    assert weights[0] == weights[1]


@pytest.mark.parametrize("activation", ["all_relu", "relu", "leaky_relu", "gelu"])
def test_contributions__are_input_times_the_gradient_of_the_difference(blobs, activation, rng):
    config = Config().replace(hidden=(9, 8), epsilon=3, activation=activation)
    found, network, _ = examined(blobs, config, rng)
    assert found["test_inputs"].shape == (len(found["test_samples"]), blobs.n_features)
    compared = 0
    for (row, actual, predicted), inputs, values in zip(
        found["test_samples"].tolist(), found["test_inputs"], found["test_contributions"], strict=True
    ):
        x = blobs.x_test[row]
        z = decision_values(network, x[None], Workspace(network.sizes, 16))[0]
        assert z.argmax() == predicted
        other = actual if actual != predicted else np.argsort(z)[-2]
        assert abs(values).tolist() == sorted(abs(values).tolist(), reverse=True)
        for i, value in zip(inputs[:3], values[:3], strict=True):
            differences = []
            for step in (1e-2, 5e-3):
                moved = np.stack([x, x])
                moved[:, i] += np.float32([step, -step])
                up, down = decision_values(network, moved, Workspace(network.sizes, 16))
                differences.append(((up - down)[predicted] - (up - down)[other]) / (2 * step))
            if abs(differences[0] - differences[1]) < 1e-3:  # no kink in between
                compared += 1
                assert value == pytest.approx(x[i] * differences[1], abs=3e-3, rel=2e-2)
    assert compared > 20


def test_samples__have_each_kind_of_mistake_first_and_their_own_values(rng):
    x = rng.normal(size=(900, 60)) * 5 + 100
    data = make_dataset(x, rng.integers(4, size=900), rng=rng)
    found, _, _ = examined(data, Config().replace(hidden=(20,), epsilon=5), rng)
    samples = found["test_samples"]
    assert len(samples) == mistakes.KEPT
    cells = {(a, p) for _, a, p in samples.tolist()}
    confusion = found["test_confusion"]
    assert {(a, p) for a, p in np.argwhere(confusion).tolist() if a != p} <= cells
    p = found["test_sample_values"]
    assert ((p[:, 1] >= p[:, 0]) & (p[:, 1] > 1 / 4) & (p[:, 1] <= 1)).all()
    offset, scale = data.scaling
    given = data.x_test[samples[:, 0]] / scale + offset
    assert np.allclose(found["test_features"], np.take_along_axis(given, found["test_inputs"], 1), rtol=1e-5)
    again, _, _ = examined(data, Config().replace(hidden=(20,), epsilon=5), np.random.default_rng(3))
    both = set(samples[:, 0].tolist()) & set(again["test_samples"][:, 0].tolist())
    assert len(both) > 5, "the same samples are preferred for another network"


def test_samples__are_images_in_bounded_bytes(rng):
    x = rng.integers(0, 256, size=(300, 30, 60)).astype(np.uint8)
    data = make_dataset(x, np.arange(300) % 3, rng=rng)
    assert data.image_shape == (30, 60)
    found, _, _ = examined(data, Config().replace(hidden=(20,), epsilon=5), rng)
    assert found["test_pixels"].nbytes <= MAX_PIXELS
    assert "test_features" not in found
    row = found["test_samples"][0, 0]
    given = data.x_test[row] / data.scaling[1] + data.scaling[0]
    assert np.abs(found["test_pixels"][0] - given).max() <= 255 / 31 / 2 + 1
    assert len(np.unique(found["test_pixels"])) <= 32, "few levels, which compress well"


def test_samples__are_kept_of_epochs_that_are_due_only_and_nothing_else_is_read(blobs, rng):
    class Counted:
        def __init__(self, x):
            self.x, self.shape, self.nbytes, self.read = x, x.shape, x.nbytes, []

        def __len__(self):
            return len(self.x)

        def gather(self, rows, out):
            self.read.extend(rows.tolist())
            self.x.gather(rows, out)

    data = dataclasses.replace(blobs, x_test=Counted(blobs.x_test))
    config = Config().replace(hidden=(5,), epsilon=3)
    found, _, _ = examined(data, config, rng, due=lambda epoch: False)
    assert found.keys() == {"test_counts", "test_confusion"}
    assert data.x_test.read == list(range(len(data.x_test))), "one pass, by the test itself"
    found, _, _ = examined(data, config, rng)
    assert data.x_test.read[2 * len(data.x_test) :] == found["test_samples"][:, 0].tolist()


def test_many_classes__have_counts_only(rng):
    k = MAX_CONFUSED + 1
    data = make_dataset(rng.normal(size=(6 * k, 8)), np.arange(6 * k) % k, rng=rng)
    found, _, result = examined(data, Config().replace(hidden=(5,), epsilon=3), rng)
    assert "test_confusion" not in found
    assert found["test_counts"][:, 2].sum() / len(data.x_test) == result.accuracy
    assert found["test_counts"][:, 0].sum() == len(data.x_test)


def test_several_labels__are_counted_and_a_wrong_one_is_explained(rng):
    y = rng.integers(2, size=(120, 3))
    data = make_dataset(rng.normal(size=(120, 8)), y, task="multilabel", rng=rng)
    found, network, _ = examined(data, Config().replace(hidden=(6,), epsilon=3), rng)
    z = decision_values(network, data.x_test, Workspace(network.sizes, 16))
    actual, predicted = data.y_test > 0.5, z > 0
    assert found["test_counts"].T.tolist() == [n.sum(0).tolist() for n in (actual, predicted, actual & predicted)]
    assert len(found["test_samples"]) == min(mistakes.KEPT, (actual != predicted).any(1).sum())
    for (row, missed, added), (there, p) in zip(
        found["test_samples"].tolist(), found["test_sample_values"].tolist(), strict=True
    ):
        label = max(missed, added)
        assert min(missed, added) == -1
        assert actual[row, label] == (missed >= 0) == bool(there)
        assert predicted[row, label] == (added >= 0) == (p > 0.5)


def test_regression__has_pairs_of_values_and_the_largest_errors(rng):
    x = rng.normal(size=(400, 8))
    y = np.stack([100 + 30 * x[:, 0], x[:, 1]], axis=1)
    data = make_dataset(x, y, task="regression", rng=rng)
    found, network, _ = examined(data, Config().replace(hidden=(6,), epsilon=3), rng)
    predicted = data.in_units(decision_values(network, data.x_test, Workspace(network.sizes, 16)))
    actual = data.in_units(data.y_test)
    assert found["test_scatter"].shape == (len(actual), 2, 2)
    assert np.allclose(found["test_scatter"][:, 0], actual, rtol=1e-4)
    assert np.allclose(found["test_scatter"][:, 1], predicted, rtol=1e-3, atol=1e-3)
    error = (((predicted - actual) * data.target_scale) ** 2).sum(axis=1)
    assert found["test_samples"][:, 0].tolist() == np.argsort(-error)[: mistakes.KEPT].tolist()
    row, target, _ = found["test_samples"][0]
    assert found["test_sample_values"][0] == pytest.approx([actual[row, target], predicted[row, target]], rel=1e-4)


def test_snapshot__refuses_fields_that_do_not_fit_together(store, filed):
    run = store.create(filed)
    list(execute(run))
    arrays = run.snapshot(3).arrays()
    names = {name for name in arrays if name.startswith("test_")}
    assert names == {"test_counts", "test_confusion", "test_samples", "test_sample_values", "test_inputs",
                     "test_contributions", "test_features"}  # fmt: skip
    assert Snapshot.from_arrays(arrays).test_counts is not None
    for name in names:
        beyond = [np.full_like(arrays[name], 99)] if name in ("test_samples", "test_inputs") else []
        for changed in (arrays[name][:, :-1], arrays[name][0], *beyond):
            with pytest.raises(ValueError, match="test_"):
                Snapshot.from_arrays({**arrays, name: changed})


def test_workspace__narrower_than_the_samples(rng):
    data = make_dataset(rng.normal(size=(400, 30)), rng.integers(2, size=400), rng=rng)
    found = []
    for width in (16, 64):
        network = init_network(30, 2, Config().replace(hidden=(9,), epsilon=3), rng=np.random.default_rng(1))
        workspace, examiner = Workspace(network.sizes, width), Examiner(data, 0, lambda epoch: True)
        evaluate_part(network, data, "test", workspace, examiner.answers)
        examiner.examine(network, 1, workspace)
        found.append(examiner.arrays(1))
    assert found[0].keys() == found[1].keys()
    assert all(
        np.allclose(found[0][name], found[1][name], atol=1e-4) for name in ("test_samples", "test_contributions")
    )
