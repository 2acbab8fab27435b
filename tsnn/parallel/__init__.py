"""Parallel training: one server, K workers, and the channel between them (arXiv 2102.01732, section 3.4)."""
