"""Jobs: the processes that execute runs. Launching, queueing, supervising, estimating their duration; sweeps."""
