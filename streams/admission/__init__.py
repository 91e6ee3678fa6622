"""Whether anything may be sent to a destination now, and how much.

In come how calls of a sink ended, what operators command, and the clock; out go permits for calls,
or when to ask again. ``gate`` is the protocol: ``permits``, ``acquire``, ``retry_at``, and the
permit's ``finish``. ``controller`` asks one gate after the other: the override (``manual``),
maintenance windows, the dead-letter limit, the circuit breaker with its slow start, the throttle,
and the gates of the quota, which it is given. ``sliding_window`` and ``token_bucket`` are what they
count with. Delivery's senders call it before and after each call of a sink, the worker's supervisor
hands it commands and asks for the ``state``: all in the event loop. It does no I/O.
"""
