"""Ottla: a broker that speaks the real Kafka wire protocol. The package's face; nothing heavy is imported here."""

__version__ = "0.1.0"

__all__ = ["__version__"]
