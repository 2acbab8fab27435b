"""Every setting of a run: its default, range and help text (``sections``), how settings are checked (``schema``).

Paper settings by data set are in ``presets``.
"""

from tsnn.config.schema import Setting, Slider
from tsnn.config.sections import (
    LIVE_SETTINGS,
    SECTIONS,
    Config,
    DataConfig,
    ImportanceConfig,
    NetworkConfig,
    ParallelConfig,
    RunConfig,
    TrainingConfig,
    describe,
    full_name,
    setting_names,
)

__all__ = [
    "LIVE_SETTINGS", "SECTIONS", "Config", "DataConfig", "ImportanceConfig", "NetworkConfig", "ParallelConfig",
    "RunConfig", "Setting", "Slider", "TrainingConfig", "describe", "full_name", "setting_names",
]  # fmt: skip
