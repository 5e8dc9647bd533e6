"""What real clients ask: a story told by each, recorded once, answered by Kafka, played to Ottla."""
