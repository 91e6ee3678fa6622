"""Connectors: one file a system. They know events and errors, and nothing of Kafka or Faust."""
