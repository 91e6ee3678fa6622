"""Who may call which operation, and how much: API keys, issuers and rights, in ``access.toml``.

``keys`` makes keys, of which the file holds hashes alone, and knows them again; ``policy`` is what
the file says, ``issuers`` whose tokens are believed, ``quota`` how much a client may call, ``file``
reads it, follows its changes, and edits it for ``trunkline access``.
Nothing here knows Kafka or HTTP; the gateway asks ``policy`` in its event loop.
"""
