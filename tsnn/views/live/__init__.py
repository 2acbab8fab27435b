"""Live views: following a run, replaying it, keeping pace with a browser."""
