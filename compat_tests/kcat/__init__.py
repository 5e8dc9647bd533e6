"""kcat, Debian's librdkafka command line, against Ottla."""
