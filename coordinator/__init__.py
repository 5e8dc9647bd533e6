"""Coordinators of groups and of transactions: pure state machines over records, timers and a clock. No I/O, no trio."""
