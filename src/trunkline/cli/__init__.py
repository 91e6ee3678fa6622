"""The ``trunkline`` command."""
