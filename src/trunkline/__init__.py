"""Trunkline: an enterprise integration backbone on Kafka."""
