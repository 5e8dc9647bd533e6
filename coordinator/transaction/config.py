"""Settings of the transaction coordinator, under Kafka's names with underscores for dots. They are read elsewhere."""

from __future__ import annotations


class TransactionConfig:
    """Kafka's broker properties for transactions; the defaults are Kafka 4.4's."""

    __slots__ = (
        "transaction_abort_timed_out_transaction_cleanup_interval_ms",
        "transaction_max_timeout_ms",
        "transaction_remove_expired_transaction_cleanup_interval_ms",
        "transactional_id_expiration_ms",
        "write_retry_ms",
    )

    def __init__(
        self,
        *,
        transaction_max_timeout_ms: int = 900_000,
        transactional_id_expiration_ms: int = 604_800_000,
        transaction_abort_timed_out_transaction_cleanup_interval_ms: int = 10_000,
        transaction_remove_expired_transaction_cleanup_interval_ms: int = 3_600_000,
        write_retry_ms: int = 1_000,
    ) -> None:
        self.transaction_max_timeout_ms = transaction_max_timeout_ms
        self.transactional_id_expiration_ms = transactional_id_expiration_ms
        self.transaction_abort_timed_out_transaction_cleanup_interval_ms = (
            transaction_abort_timed_out_transaction_cleanup_interval_ms
        )
        self.transaction_remove_expired_transaction_cleanup_interval_ms = (
            transaction_remove_expired_transaction_cleanup_interval_ms
        )
        # Ours: when a marker, or the record of an outcome, could not be written, try again after this.
        self.write_retry_ms = write_retry_ms
