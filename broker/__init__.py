"""The server: command line, connections, the gate, handlers, cluster state. Only here may anything await."""
