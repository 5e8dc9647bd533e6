"""A partition folder changes hands between Ottla and a real Apache Kafka."""
