"""franz-go as a driver process, and its scenarios."""
