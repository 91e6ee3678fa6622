"""The source of truth of canonical types: ``<domain>/<Type>.avsc``, shipped as package data."""
