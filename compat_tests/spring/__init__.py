"""Spring Kafka."""
