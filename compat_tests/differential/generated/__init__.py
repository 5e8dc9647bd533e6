"""Requests made from the schemas: every API that is served, at each of its versions, asked of Kafka and of Ottla."""
