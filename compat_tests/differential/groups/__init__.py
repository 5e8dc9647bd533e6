"""Classic groups and committed offsets."""
