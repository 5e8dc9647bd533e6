"""Kinds of groups. Today the classic protocol; the consumer (KIP-848), share and streams groups get a module each."""
