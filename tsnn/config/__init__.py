"""Every setting of a run: its default, range and help text (``sections``), how settings are checked (``schema``).

Paper settings by data set are in ``presets``.
"""

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
    setting_names,
)

__all__ = [
    "LIVE_SETTINGS", "SECTIONS", "Config", "DataConfig", "ImportanceConfig", "NetworkConfig", "ParallelConfig",
    "RunConfig", "TrainingConfig", "describe", "setting_names",
]  # fmt: skip
