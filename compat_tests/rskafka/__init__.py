"""rskafka, a client in Rust alone: no groups, no transactions."""
