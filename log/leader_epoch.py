"""Leader epochs of one log: where each began, kept in `leader-epoch-checkpoint`. No files are touched here."""

from __future__ import annotations

from bisect import bisect_right

from ottla.log.checkpoint import format_entries, parse_entries


class LeaderEpochs:
    """(epoch, start offset) pairs, both strictly growing."""

    __slots__ = ("_epochs", "_starts")

    def __init__(self) -> None:
        self._epochs: list[int] = []
        self._starts: list[int] = []

    def __len__(self) -> int:
        return len(self._epochs)

    @property
    def latest(self) -> int:
        """The last epoch, -1 if there is none."""
        return self._epochs[-1] if self._epochs else -1

    @property
    def latest_start(self) -> int:
        """Where the last epoch began, -1 if there is none."""
        return self._starts[-1] if self._starts else -1

    def assign(self, epoch: int, start_offset: int) -> bool:
        """Note that a batch of `epoch` begins at `start_offset`; True if the epoch is new."""
        if epoch < 0 or (self._epochs and epoch <= self._epochs[-1]):
            return False
        if self._starts and start_offset <= self._starts[-1]:  # the epoch before wrote nothing
            self._epochs[-1] = epoch
            return True
        self._epochs.append(epoch)
        self._starts.append(start_offset)
        return True

    def epoch_at(self, offset: int) -> int:
        """Epoch that wrote `offset`, -1 if unknown."""
        index = bisect_right(self._starts, offset) - 1
        return self._epochs[index] if index >= 0 else -1

    def end_offset(self, epoch: int, log_end_offset: int) -> tuple[int, int]:
        """(largest known epoch <= `epoch`, its end offset), or (-1, -1): OffsetForLeaderEpoch (KIP-101, KIP-279)."""
        if epoch < 0 or not self._epochs or epoch > self._epochs[-1]:
            return -1, -1
        if epoch == self._epochs[-1]:
            return epoch, log_end_offset
        index = bisect_right(self._epochs, epoch)
        if index == 0:  # older than everything we know: it ended where the first known epoch began
            return epoch, self._starts[0]
        return self._epochs[index - 1], self._starts[index]

    def truncate_start(self, offset: int) -> bool:
        """Forget epochs wholly below `offset`; the one that holds it now starts there. True if anything changed."""
        index = bisect_right(self._starts, offset) - 1
        if index < 0 or (index == 0 and self._starts[0] == offset):
            return False
        del self._epochs[:index], self._starts[:index]
        self._starts[0] = offset
        return True

    def truncate_end(self, offset: int) -> bool:
        """Forget epochs that begin at or after `offset`. True if anything changed."""
        keep = len(self._starts)
        while keep and self._starts[keep - 1] >= offset:
            keep -= 1
        changed = keep != len(self._starts)
        del self._epochs[keep:], self._starts[keep:]
        return changed

    def encode(self) -> bytes:
        """Content of `leader-epoch-checkpoint`."""
        return format_entries(f"{epoch} {start}" for epoch, start in zip(self._epochs, self._starts, strict=True))

    @classmethod
    def decode(cls, data: bytes) -> LeaderEpochs:
        """Inverse of `encode`. Raises ValueError, also for pairs that do not grow."""
        epochs = cls()
        for epoch_text, start_text in parse_entries(data, 2):
            epoch, start = int(epoch_text), int(start_text)
            if (
                epoch < 0
                or start < 0
                or (epochs._epochs and (epoch <= epochs._epochs[-1] or start <= epochs._starts[-1]))
            ):
                raise ValueError(f"epoch {epoch} at {start} does not follow the entry before it")
            epochs._epochs.append(epoch)
            epochs._starts.append(start)
        return epochs
