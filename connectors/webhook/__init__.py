"""WebhookSource: an HTTP endpoint that other systems call when something happens in them.

``source`` turns requests into records: ``signatures`` says whose they are, ``bodies`` what they
hold, ``replays`` whether they came before. ``listener`` is the server, one a process and address
whatever sources listen there, and ``port`` sees that a port belongs to one flow.
"""

from __future__ import annotations

from trunkline.connectors.webhook.signatures import Signature
from trunkline.connectors.webhook.source import WebhookSource

__all__ = ["Signature", "WebhookSource"]
