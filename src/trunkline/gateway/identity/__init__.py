"""Who sends a request: a client of the file by its API key, or one that an issuer's token names.

``callers`` is what the URLs ask; ``tokens`` says what a token must be, and never waits; ``jwks``
has the public keys of one issuer, fetched beside all requests. In the event loop.
"""
