"""Each method of each client's admin, called: what Apache Kafka answered lies in data/, Ottla answers the same."""
