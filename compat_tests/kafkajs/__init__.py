"""kafkajs, the client of most Node services."""
