"""The Java client 2.8, of 2021."""
