"""Settings of a run.

``sections`` declares them: defaults, ranges, help texts; ``schema`` checks them; ``presets`` holds values for data
sets; ``configuration`` has the complete :class:`Config` of a run.
"""

from tsnn.config.configuration import (
    LIVE_NUMBERS,
    LIVE_SETTINGS,
    SECTIONS,
    Config,
    LiveValue,
    describe,
    full_name,
    read_sections,
    setting_names,
)
from tsnn.config.schema import Setting, Slider
from tsnn.config.sections import (
    DataConfig,
    ImportanceConfig,
    NetworkConfig,
    ParallelConfig,
    RunConfig,
    TrainingConfig,
)

__all__ = [
    "LIVE_NUMBERS", "LIVE_SETTINGS", "SECTIONS", "Config", "DataConfig", "ImportanceConfig", "LiveValue",
    "NetworkConfig", "ParallelConfig", "RunConfig", "Setting", "Slider", "TrainingConfig", "describe",
    "full_name", "read_sections", "setting_names",
]  # fmt: skip
