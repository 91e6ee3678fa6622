"""What operators do to running flows, as functions: the command line calls them, and so may you.

In come the backbone's addresses and what is meant; out go records in the flow's control and audit
topics, written in one transaction, or what these topics tell. ``targets`` finds out which
destination is meant, ``destinations`` pauses and shows one, ``sources`` does so with a source, and
resets it, ``dead_letters`` and ``replays`` have events sent again, ``waiting`` is about what waits
for another attempt, ``audit`` says who did what, ``alerts`` sends a test message; ``planning``
makes what flows need; ``health`` and ``verdicts`` say whether all is well, ``browsing`` shows what
is in a topic, ``doctor`` looks at what is around flows. Workers do what is asked for; nothing here
waits for them. All functions but ``follow_request`` block: call them outside an event loop, or in a
thread. Nothing is printed; what cannot be is a ``TrunklineError`` with a message for people.

    from trunkline import admin
    from trunkline.params import environment_file, load_backbone

    backbone = load_backbone(environment_file("prod"))
    letters = admin.open_dead_letters(backbone, admin.Target.parse("orders.warehouse"))
    request = letters.plan_redrive(admin.DeadLetterFilter(error="Rejected"), why="mended")
    if request.count:
        letters.submit(request)

``docs/admin.md`` has an example of each.
"""

from trunkline.access.audit import AccessRecord
from trunkline.access.quota import Quota
from trunkline.admin.accesses import read_accesses
from trunkline.admin.alerts import ChannelTest, send_test_alert
from trunkline.admin.audit import read_audit
from trunkline.admin.backlog import Backlog
from trunkline.admin.browsing import TopicBrowser, TopicRecord
from trunkline.admin.dead_letters import DeadLetters, LetterValue, open_dead_letters
from trunkline.admin.destinations import (
    DestinationOverview,
    destination_status,
    force_destination,
    pause_destination,
    resume_destination,
)
from trunkline.admin.doctor import Diagnosis, examine
from trunkline.admin.health import (
    DestinationFigures,
    FlowFigures,
    LetterFigures,
    RoutingFigures,
    SourceFigures,
    flow_figures,
)
from trunkline.admin.measures import Measure
from trunkline.admin.planning import apply_plan, compare_clusters, plan_flows
from trunkline.admin.quotas import change_quota, changed_quotas
from trunkline.admin.removal import Removal, plan_removal, remove_flow
from trunkline.admin.replay_scope import Bound, Preview
from trunkline.admin.replays import (
    RequestStatus,
    cancel_request,
    continue_request,
    follow_request,
    list_requests,
    pause_request,
    plan_replay,
    preview_replay,
    request_status,
    routing_workers,
    submit_request,
)
from trunkline.admin.source_letters import SourceRedrive, redrive_source
from trunkline.admin.sources import (
    SnapshotStatus,
    SourceOverview,
    SourceStatus,
    change_snapshot,
    pause_source,
    request_snapshot,
    reset_source,
    resume_source,
    source_status,
)
from trunkline.admin.status import HeldEvent, WorkerStatus
from trunkline.admin.targets import Target, require_destination
from trunkline.admin.verdicts import Trouble, troubles
from trunkline.admin.waiting import (
    WaitingEvent,
    discard_waiting,
    list_waiting,
    retry_waiting,
)
from trunkline.streams.admission.manual import OverrideRecord
from trunkline.streams.control.audit import AuditRecord
from trunkline.streams.dlq.cause_groups import CauseGroup
from trunkline.streams.dlq.letters import DeadLetter, DeadLetterFilter
from trunkline.streams.plan.resources import Difference, Plan, Resource
from trunkline.streams.replay.request import PartitionProgress, Request

__all__ = [
    "AccessRecord",
    "AuditRecord",
    "Backlog",
    "Bound",
    "CauseGroup",
    "ChannelTest",
    "DeadLetter",
    "DeadLetterFilter",
    "DeadLetters",
    "DestinationFigures",
    "DestinationOverview",
    "Diagnosis",
    "Difference",
    "FlowFigures",
    "HeldEvent",
    "LetterFigures",
    "LetterValue",
    "Measure",
    "OverrideRecord",
    "PartitionProgress",
    "Plan",
    "Preview",
    "Quota",
    "Removal",
    "Request",
    "RequestStatus",
    "Resource",
    "RoutingFigures",
    "SnapshotStatus",
    "SourceFigures",
    "SourceOverview",
    "SourceRedrive",
    "SourceStatus",
    "Target",
    "TopicBrowser",
    "TopicRecord",
    "Trouble",
    "WaitingEvent",
    "WorkerStatus",
    "apply_plan",
    "cancel_request",
    "change_quota",
    "change_snapshot",
    "changed_quotas",
    "compare_clusters",
    "continue_request",
    "destination_status",
    "discard_waiting",
    "examine",
    "flow_figures",
    "follow_request",
    "force_destination",
    "list_requests",
    "list_waiting",
    "open_dead_letters",
    "pause_destination",
    "pause_request",
    "pause_source",
    "plan_flows",
    "plan_removal",
    "plan_replay",
    "preview_replay",
    "read_accesses",
    "read_audit",
    "redrive_source",
    "remove_flow",
    "request_snapshot",
    "request_status",
    "require_destination",
    "reset_source",
    "resume_destination",
    "resume_source",
    "retry_waiting",
    "routing_workers",
    "send_test_alert",
    "source_status",
    "submit_request",
    "troubles",
]
