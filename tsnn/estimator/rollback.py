"""Rollback: a call that fails leaves the estimator as it was."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
Model = TypeVar("Model")


def unchanged_on_failure(method: Callable[Concatenate[Model, P], R]) -> Callable[Concatenate[Model, P], R]:
    """Wrap a method of an estimator: any exception, also Ctrl-C, restores all attributes from before the call.

    The method must replace the values of attributes, and must not change them in place.
    """

    @functools.wraps(method)
    def wrapper(model: Model, /, *args: P.args, **kwargs: P.kwargs) -> R:
        attributes: dict[str, Any] = vars(model)
        before = dict(attributes)
        try:
            return method(model, *args, **kwargs)
        except BaseException:
            attributes.update(before)
            for name in attributes.keys() - before.keys():
                del attributes[name]
            raise

    return wrapper
