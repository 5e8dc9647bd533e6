"""The Apache Kafka command line tools, on a real JVM, against Ottla."""
