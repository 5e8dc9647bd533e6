"""Real clients against a real Ottla process: one folder a client. Nothing here imports the broker."""
