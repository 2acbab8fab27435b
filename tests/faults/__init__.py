"""Campaign of faults: kills, stops and full disks at random moments of real runs. ``python -m tests.faults --help``."""
