"""Whether anything may be sent to a destination now, and how much.

In come how calls ended, what operators command, and the clock; out go permits for calls of a sink,
or when to ask again. ``controller`` asks one gate after the other: the circuit breaker, maintenance
windows, the operator's override, the limit of dead letters, a throttle. ``gate`` is what they have
in common. Delivery's senders call it in the event loop, before and after each call of a sink; it
does no I/O.
"""
