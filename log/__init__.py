"""The log: segments, indexes, recovery, the data folder; and the clock and the ids that everyone shares. No sockets."""
