"""Live data: following a run, reading its snapshots, updating a page at the speed of its browser."""
