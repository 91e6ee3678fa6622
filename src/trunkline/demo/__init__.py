"""The demo: an airport's system, real flights, three destinations, and a proof.

``records`` reads the flights, ``timeline`` makes of them what happens when, ``airport`` is the
system in PostgreSQL, ``receiver`` an HTTP API, ``mart`` the data mart with its witness. ``expect``
says what must arrive, from what the airport did alone, and ``proof`` compares. ``scene`` starts
and stops it all, ``play`` is the course of events, ``screen`` and ``report`` show them. The workers
are processes of their own, started as a user starts them: the demo imports nothing of the engine.
"""
