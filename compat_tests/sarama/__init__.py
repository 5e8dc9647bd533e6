"""Sarama as a driver process, and its scenarios."""
