"""The engine: topologies, networks, training. Arrays only: no files, no processes, no windows."""
