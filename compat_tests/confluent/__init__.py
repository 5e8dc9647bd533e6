"""confluent-kafka (librdkafka) against Ottla."""
