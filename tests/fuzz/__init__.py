"""Campaign of bad input: settings, files, run directories, commands, addresses. ``python -m tests.fuzz --help``."""
