"""How much each client may call, over all gateways of a backbone.

``seconds``: in any second never more than the limit, by permits that gateways divide among
themselves as workers divide a destination's limits (``streams/quota``). ``counts``: in a minute and
in a day, by the calls that the journal has. ``limits`` puts both together: the URLs ask it before
anything is done, and it says what is left. All in the event loop. ``standing`` is what is said of
it in headers and bodies.
"""
