"""One trace of an event's way, told to an OpenTelemetry collector: from its source through its
topic and route to each attempt of a destination.

Comes in: the parts of the steps that touch events: a Publisher, a Router, a sink. Goes out: the
same parts, which do the same and tell of each *sampled* event. The worker puts them in where
``traces`` is set; elsewhere nothing of OpenTelemetry is loaded, and no step looks at anything.

    source ── publish ──▶ topic ── route ──▶ inbox ── deliver, tl.attempt 1 ──▶ system
                                                  ├── deliver, tl.attempt 2
                                                  └── deliver, tl.attempt 3

Each arrow hands on its own context in the one header ``traceparent``; retries keep that of the
route, so attempts are siblings. Whether an event is sampled is decided where it enters, and stands
in the header's flag: of an event that is not, nothing is read but that flag, and its header goes on
as it is, to the byte.

context     the flag and the ids of a ``traceparent``; knows no OpenTelemetry
setup       whether there are traces at all; loads the rest if so
tracer      spans of a process, and the names of what stands in them
export      the queue to the collector: bounded, counted, and left behind at the end
publishing, routing, delivering     the parts that tell; traces     puts them together

Runs where the parts do: the exporter alone has a thread.
"""
