"""The messages of the protocol, a module an API; read them as its guide. Written by tools/sync_messages.py."""
