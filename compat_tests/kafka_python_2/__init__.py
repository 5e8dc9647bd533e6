"""kafka-python 2 against Ottla."""
