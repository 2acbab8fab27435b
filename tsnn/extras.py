"""Optional packages: which extra of tsnn brings each, and the message where one is missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from tsnn.errors import MissingPackageError

#: The extra that brings a package, by the name of its module.
EXTRAS = {
    "pandas": "tables",
    "pyarrow": "tables",
    "openpyxl": "excel",
    "pooch": "download",
    "panel": "app",
    "panel_material_ui": "app",
    "bokeh": "app",
    "holoviews": "app",
    "datashader": "datashader",
    "mpi4py": "mpi",
    "jupyterlab": "notebooks",
    "onnx": "onnx",
    "torch": "torch",
    "optuna": "sweep",
}


def require(module: str, purpose: str) -> ModuleType:
    """Import an optional module.

    Parameters
    ----------
    module : str
        Its name, such as "pyarrow".
    purpose : str
        Begins the message: what needs it.

    Raises
    ------
    MissingPackageError
        If it cannot be imported; the message names the extra to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing(module, purpose, error) from error


def missing(module: str, purpose: str, error: ImportError) -> MissingPackageError:
    """Return the error for an optional module that cannot be imported."""
    root = module.partition(".")[0]
    reason = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be imported ({error})"
    return MissingPackageError(
        f"{purpose} needs the package {root}, which {reason}: pip install 'tsnn[{EXTRAS[root]}]'"
    )
