"""OpenAPI documents of other systems: what they offer becomes operations of a flow.

In comes a document's text (``reading``), of which ``document`` follows the references and
``schemas`` makes JSON Schema 2020-12, of OpenAPI 3.0 as of 3.1. Out go ``api.Api``: the operations
that can be imported, and those that cannot, each with its reason and line; and from it the file
that is pinned (``pinned``), Python types (``types``), what a call's request is (``calls``), and
what another version changes (``changes``). Flows, the gateway and the commands call it. Nothing
here connects to anything, but ``fetching``, which a command asks to.
"""
