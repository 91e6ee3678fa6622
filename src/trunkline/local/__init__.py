"""The embedded servers: a real Kafka, schema registry and databases as child processes."""
