"""Requests that no library would send: raw sockets against Ottla."""
