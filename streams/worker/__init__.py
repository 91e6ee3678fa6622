"""The process that runs a flow, or several: it puts the steps together, and ends them in order.

In come a flow, its parameters and the addresses of the backbone; out come running steps, health
pages and metrics. ``process`` is the life of the process, in the main thread, whose event loop all
steps share. ``assembly`` builds the steps for the roles that a worker has, ``compiler`` makes the
flow's functions ready, ``supervisor`` shows and commands one destination. Faust serves as queues
and pages, behind ``faust_app``. Of several flows each has a ``process.Worker`` of its own, which
``hosted_flow`` holds and tries again when it fails; ``host`` runs them side by side, and they have
in common what ``shared`` has.
"""
