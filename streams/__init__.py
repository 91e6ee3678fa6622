"""What happens between topics: the rooms, in the order of an event's way.

    system ─▶ publish ─▶ canonical topic ─▶ route ─▶ inbox ─▶ deliver ─▶ system
                 │              │             │       ▲ ▲      │ │ ▲
                 │              └── replay ───┼───────┘ │      │ ▼ │ when due, in order
                 ▼                            ▼         │      │ retry tiers
           dead letters                 dead letters ◀──┼──────┘
           of the source                of the destination
                                              └─ replay ┘ (a re-drive)

Steps of the way; two of them meet only in a topic:

publish     a source's records become canonical events
route       each canonical event becomes messages in inboxes, exactly once
deliver     the events of an inbox and of its retry tiers go to a sink
replay      past events, and dead letters, go to one destination's inbox again

What steps need:

flow        what users write: flows, routes, policies; imports no other room
retry       when a failed event comes again, and in which order of its key
operations  calls of operations: what a destination's system is asked for, beside its events
journal     how each call of an operation stands
enrichment  what another system knows, added to a message before its sink gets it
admission   whether anything may be sent now: breaker, maintenance, operator, throttle
quota       limits over all workers: who may use how much of a rate
dlq         dead letters: how they are written, read, grouped, and counted as handled
control     the flow's state topic: what operators ask for, what workers tell
tables      the newest value per key of canonical topics, for routes that look something up
alerts      what people are told, by one voice for all workers
metrics     what every step counts
listener    whom a step tells what becomes of its events: metrics, alerts, the dead-letter limit

Around them:

check       mistakes in a flow, found without connecting
plan        the topics that a flow needs
tracing     the steps' parts, which tell an OpenTelemetry collector of sampled events
worker      the process that puts the steps together and runs them

Each room's ``__init__`` says what comes in, what goes out, and who calls it on which thread;
docs/architecture.md follows one event through all of them.
"""
