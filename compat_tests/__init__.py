"""Real clients against a real Ottla process: one folder a client. See ARCHITECTURE.md, The compatibility lab."""
