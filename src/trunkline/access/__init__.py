"""Who may call which operation: API keys and the rights of clients, in ``access.toml``.

``keys`` makes keys, of which the file holds hashes alone, and knows them again; ``policy`` is what
the file says, ``file`` reads it, follows its changes, and edits it for ``trunkline access``.
Nothing here knows Kafka or HTTP; the gateway asks ``policy`` in its event loop.
"""
