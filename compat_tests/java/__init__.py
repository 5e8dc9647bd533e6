"""The newest Java client."""
