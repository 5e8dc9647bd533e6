"""Exactly once with real clients: one list of workloads for every client library, old and new protocol."""
