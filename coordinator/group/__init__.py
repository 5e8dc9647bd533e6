"""Groups: classic, consumer (KIP-848), and the offsets they commit."""
