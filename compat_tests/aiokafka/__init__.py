"""aiokafka against Ottla."""
