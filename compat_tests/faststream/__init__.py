"""FastStream against Ottla: an application as a process, and what its user expects of it."""
