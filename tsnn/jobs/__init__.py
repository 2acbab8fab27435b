"""Jobs: the processes that carry out runs. Launching, queueing, supervising."""
