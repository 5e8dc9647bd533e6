"""The same requests to Apache Kafka and to Ottla: what differs in the answers is a fault of ours, or has a reason."""
