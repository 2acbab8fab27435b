"""Augmentation of images: geometry, randomness by step and sample, training, resumption, refusals."""

import math

import numpy as np
import pytest

from tests.support.ranks import Threads
from tsnn.datasets import make_dataset
from tsnn.datasets.augmentation import Augmentation, _uniform, augmentation
from tsnn.engine.network import init_network
from tsnn.engine.serialization import pack, unpack
from tsnn.engine.state import TrainingState
from tsnn.engine.training import steps
from tsnn.engine.warmup import training_stages
from tsnn.errors import DataError
from tsnn.kernels import narrow
from tsnn.records import EpochRecord, Progress


@pytest.fixture
def pictures(rng):
    """Colour images of 6 x 5 pixels: 90 training samples, 45 test samples."""
    return make_dataset(rng.random((135, 3, 6, 5)), np.arange(135) % 3, rng=rng)


@pytest.fixture
def config(tiny):
    return tiny.replace({"training.augmentation": "images"})


def gathered(features, rows):
    out = np.full((features.shape[1], 128), 9, np.float32)
    features.gather(np.asarray(rows), out)
    return out


def naive(images, row, key):
    """Augment one image, pixel by pixel."""
    planes, height, width = images.shape
    given = gathered(images.features, [row])[:, 0].reshape(planes, height, width)
    u = [float(_uniform(np.array([row]), key, number)[0]) for number in range(4)]
    angle = math.radians(images.degrees) * (2 * u[0] - 1)
    down, right = images.shift * height * (2 * u[1] - 1), images.shift * width * (2 * u[2] - 1)
    result = np.empty_like(given)
    for i in range(height):
        for j in range(width):
            y, x = i - (height - 1) / 2, j - (width - 1) / 2
            from_y = math.cos(angle) * y - math.sin(angle) * x + down
            from_x = math.sin(angle) * y + math.cos(angle) * x + right
            from_x = -from_x if images.flips and u[3] < 0.5 else from_x
            row_at = min(max(round(from_y + (height - 1) / 2), 0), height - 1)
            result[:, i, j] = given[:, row_at, min(max(round(from_x + (width - 1) / 2), 0), width - 1)]
    return result.ravel()


@pytest.mark.parametrize("ranges", [(30.0, 0.2, True), (0.0, 0.4, False)])
def test_augmentation__is_that_of_its_naive_twin(pictures, ranges):
    images = Augmentation(pictures.x_train, (3, 6, 5), *ranges)
    rows = [5, 0, 17, 89]
    out = gathered(images.at(12), rows)
    assert out[:, :4].T.tolist() == [naive(images, row, 12).tolist() for row in rows]
    assert not out[:, 4:].any()


@pytest.mark.parametrize(("name", "mirrored"), [("flip", True), ("affine", False), ("images", True)])
def test_choices__mirror_or_do_not(pictures, name, mirrored):
    columns = augmentation(pictures, name).maps(np.arange(90), 5)[1, 1]  # of the source, for each column
    assert (columns < 0).any() == mirrored
    assert (np.abs(columns) == 1).all() == (name == "flip")


def test_augmentation__in_16_bits_moves_the_same_pixels(pictures):
    images, rows = augmentation(pictures, "images"), range(85, 45, -1)
    out = np.empty((90, 64), np.uint16)
    images.at(12).gather(np.array(rows), out)
    assert (out == narrow(gathered(images.at(12), rows)[:, :64])).all()


def test_strength__multiplies_angles_and_shifts(pictures):
    whole, half = augmentation(pictures, "images"), augmentation(pictures, "images", 0.5)
    assert (half.degrees, half.shift, half.flips) == (whole.degrees / 2, whole.shift / 2, True)


def test_flip__mirrors_about_half_of_the_images(pictures):
    rows = np.arange(90)
    before = gathered(pictures.x_train, rows)[:, :90].reshape(3, 6, 5, 90)
    after = gathered(augmentation(pictures, "flip").at(3), rows)[:, :90].reshape(3, 6, 5, 90)
    mirrored = [(after[..., s] == before[:, :, ::-1, s]).all() for s in rows]
    assert [(after[..., s] == before[..., s]).all() for s in rows] == [not flipped for flipped in mirrored]
    assert 25 < sum(mirrored) < 65


def test_augmentation__depends_on_step_and_sample_only(pictures):
    images = augmentation(pictures, "images")
    all_at_once = gathered(images.at(7), range(90))
    assert (gathered(images.at(7), [40, 3])[:, :2] == all_at_once[:, [40, 3]]).all()
    assert (gathered(images.at(8), range(90)) != all_at_once).any()


def test_uniform__has_the_moments_of_independent_numbers():
    numbers = np.array([_uniform(np.arange(2000), key, k) for key in (0, 4, 2**61) for k in range(4)])
    assert (numbers >= 0).all()
    assert (numbers < 1).all()
    assert abs(numbers.mean(axis=1) - 0.5).max() < 0.03
    assert abs(numbers.var(axis=1) - 1 / 12).max() < 0.005
    assert abs(np.corrcoef(numbers) - np.eye(12)).max() < 0.1


def losses(items):
    return [(r.train_loss, r.test_loss) for r in items if isinstance(r, EpochRecord)]


def begin(data, config):
    rng = np.random.default_rng(0)
    return TrainingState.begin(init_network(data.n_features, data.n_outputs, config, rng=rng), config, rng=rng)


def test_training__sees_augmented_images_in_any_micro_batch(pictures, config):
    plain = losses(steps(begin(pictures, config.replace(augmentation="none")), pictures))
    augmented = losses(steps(begin(pictures, config), pictures))
    parts = losses(steps(begin(pictures, config.replace(micro_batch=16)), pictures))
    weaker = losses(steps(begin(pictures, config.replace(augmentation_strength=0.1)), pictures))
    assert abs(np.array(weaker) - augmented).max() > 1e-3
    assert abs(np.array(plain) - augmented).max() > 1e-3
    assert parts == pytest.approx(np.array(augmented), rel=1e-4)


def test_state__continues_an_augmented_run_with_the_same_bits(pictures, config):
    state = begin(pictures, config)
    stepping = steps(state, pictures)
    next(item for item in stepping if isinstance(item, Progress) and (item.epoch, item.samples) == (2, 32))
    values, arrays = pack(state)
    other = unpack(values, {name: np.array(array) for name, array in arrays.items()})
    assert losses(stepping) == losses(steps(other, pictures)) != []


def test_augmentation__of_samples_that_are_no_images_is_refused(blobs, config):
    with pytest.raises(DataError, match=r"augmentation='images' turns images.*no images\. Give images"):
        next(steps(begin(blobs, config), blobs))


def test_warm_up__compiles_what_moves_pixels(pictures, config, monkeypatch):
    calls = []
    monkeypatch.setattr("tsnn.kernels.move_pixels", lambda *args: calls.append(args))
    dict(training_stages(pictures, config, 16))["samples"]()
    assert len(calls) == 1


@pytest.mark.parametrize("mode", ["wasap", "wassp", "local"])
@pytest.mark.parametrize("phase1", [0.0, 1.0])
def test_workers__see_augmented_images(pictures, config, mode, phase1):
    changes = {"parallel.workers": 2, "parallel.mode": mode, "parallel.phase1_fraction": phase1}
    augmented, plain = (
        losses(Threads(pictures, config.replace({**changes, "training.augmentation": name})))
        for name in ("images", "none")
    )
    weaker = losses(Threads(pictures, config.replace({**changes, "training.augmentation_strength": 0.1})))
    assert abs(np.array(weaker) - augmented).max() > 1e-3
    assert np.isfinite(augmented).all()
    assert abs(np.array(plain) - augmented).max() > 1e-3


def test_workers__see_the_same_images_in_a_batch_gathered_ahead(pictures, config, monkeypatch):
    config = config.replace({"parallel.workers": 2, "parallel.mode": "wassp", "parallel.phase1_fraction": 1.0})
    ahead = losses(Threads(pictures, config))
    monkeypatch.setattr("tsnn.parallel.worker._Worker.gather_next_batch", lambda worker: 0.0)
    assert losses(Threads(pictures, config)) == ahead
