"""The commands of the `ottla` command line, one module each; ottla/cli.py imports the one that is asked for."""
