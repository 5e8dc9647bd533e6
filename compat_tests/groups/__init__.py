"""Consumer groups of real clients in many languages, under crashes, stops and restarts."""
