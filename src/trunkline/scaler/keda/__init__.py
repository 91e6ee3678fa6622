"""KEDA's protocol: ``externalscaler.proto`` as KEDA 2.21 has it (Apache-2.0), and what protoc makes
of it.

``python -m trunkline.scaler.keda.generate`` writes both generated files; with ``--check`` it says
whether one is stale. Nothing in them is written by hand.
"""
