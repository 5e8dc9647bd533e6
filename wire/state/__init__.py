"""Schemas of stored records and of structures inside other bytes, a module a family."""
