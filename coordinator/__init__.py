"""Group coordinator: pure state machines over records, timers and a clock. No I/O, no sockets, no trio in here."""
