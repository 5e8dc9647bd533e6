"""Topics by the thousand, and topics whose broker dies while they are made or deleted."""
