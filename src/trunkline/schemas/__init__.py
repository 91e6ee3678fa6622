"""Avro schemas: the codec, the registry and the types generated from them."""
