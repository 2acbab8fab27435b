"""Estimators in files: one .npz of plain arrays and a header of JSON, versioned, with checksums; nothing is pickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tsnn.archives import read_archive, write_archive
from tsnn.datasets.moments import Moments
from tsnn.engine.serialization import pack, unpack
from tsnn.errors import DataError, RunError, TsnnError
from tsnn.records import FORMAT, EpochRecord

PLAIN = ("_task", "_flat", "_centred", "best_epoch_", "n_features_in_")
ARRAYS = ("_offset", "_scale", "_target_offset", "_target_scale", "_target_spread", "classes_", "feature_names_in_")
MOMENTS = ("_moments", "_target_moments")


def save_estimator(model: Any, path: str | Path) -> None:
    """Write a fitted estimator to a file, with all that ``partial_fit`` needs to continue; replaces it atomically.

    Raises
    ------
    DataError
        If its classes are neither text nor numbers, or a weight of a class cannot be written.
    """
    values, arrays = pack(model._state)
    parameters = {name: _plain(value) for name, value in model.get_params().items()}
    if "class_weight" in parameters:
        parameters["class_weight"] = _pairs(parameters["class_weight"])
    if not isinstance(parameters["random_state"], int):
        parameters["random_state"] = None  # a generator would have another state by then
    classes = getattr(model, "classes_", np.empty(0))
    if classes.dtype == object and not all(isinstance(name, str) for name in classes):
        raise DataError(f"The classes {classes[:3]} cannot be written; expected text or numbers.")
    found = {name: np.asarray(vars(model)[name]) for name in ARRAYS + MOMENTS if name in vars(model)}
    header = {
        "parameters": parameters,
        "plain": {name: getattr(model, name) for name in PLAIN if hasattr(model, name)},
        "text": [name for name, array in found.items() if array.dtype == object],
        "generator": model._rng.bit_generator.state,
        "history": [record.to_dict() for record in model.history_],
        "state": values,
    }
    found = {name: array.astype(str) if array.dtype == object else array for name, array in found.items()}
    write_archive(Path(path), type(model).__name__, header, {**arrays, **found})


def load_estimator(cls: type[Any], path: str | Path) -> Any:
    """Read an estimator of a class that :func:`save_estimator` wrote.

    Raises
    ------
    RunError
        If the file is missing, damaged, of another version or another class.
    """
    try:
        header, arrays = read_archive(Path(path))
    except Exception as error:  # zipfile and numpy raise many kinds of errors for a damaged file
        raise RunError(f"{path} is not a readable estimator: {error}.") from error
    if header["format"] != FORMAT:
        raise RunError(f"{path} was written by tsnn {header['tsnn']} in format {header['format']}; expected {FORMAT}.")
    if header["kind"] != cls.__name__:
        raise RunError(f"{path} holds a {header['kind']}, not a {cls.__name__}.")
    values = header["values"]
    try:
        return _assembled(cls, values, arrays)
    except (KeyError, TypeError, ValueError, AttributeError, TsnnError) as error:
        raise RunError(f"{path} does not fit together: {error!r}.") from error


def _assembled(cls: type[Any], values: dict[str, Any], arrays: dict[str, Any]) -> Any:
    """Return the estimator of the header's values and the arrays."""
    parameters = {name: tuple(v) if isinstance(v, list) else v for name, v in values["parameters"].items()}
    if isinstance(given := parameters.get("class_weight"), dict):
        found = [dict(pairs) for pairs in given["pairs"]]
        parameters["class_weight"] = found if given["several"] else found[0]
    model = cls(**parameters)
    model._state = unpack(values["state"], arrays)
    model._rng = np.random.default_rng()
    model._rng.bit_generator.state = values["generator"]
    model.history_ = [EpochRecord.from_dict(record) for record in values["history"]]
    for name, value in values["plain"].items():
        setattr(model, name, value)
    for name in ARRAYS:
        if name in arrays:
            setattr(model, name, arrays[name].astype(object) if name in values["text"] else arrays[name])
    for name in MOMENTS:
        if name == "_moments" or "_target_offset" in arrays:
            setattr(model, name, Moments(*arrays[name]))
    return model


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold."""
    if isinstance(value, np.generic):
        return value.item()
    return [_plain(v) for v in value] if isinstance(value, list | tuple | np.ndarray) else value


def _pairs(class_weight: Any) -> Any:
    """Return weights of classes in JSON, whose keys are text: of one dict, or of one for each label, the pairs."""
    if class_weight is None or isinstance(class_weight, str):
        return class_weight
    several = not isinstance(class_weight, dict)
    parts = class_weight if several else [class_weight]
    return {"several": several, "pairs": [[[_plain(k), _plain(w)] for k, w in part.items()] for part in parts]}
