"""kafka-python against Ottla."""
