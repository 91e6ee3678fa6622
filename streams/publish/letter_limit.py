"""The dead-letter limit of a source: it stops before it fills its queue with what only today's
function cannot map.

A destination's limit stops behind the dead letters that it has counted. Of a source the batch that
trips the limit is not published at all: it is read again, and is right once the function is mended.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from trunkline.streams.admission.dead_letter_limit import DeadLetterGate
from trunkline.streams.flow.dead_letter_limit import DeadLetterLimit
from trunkline.streams.publish.publisher import PublishingResult


class LetterLimit:
    """The limit of one source in one worker; without a policy it never trips. One thread checks,
    others reset and look."""

    def __init__(
        self, policy: DeadLetterLimit | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._gate = DeadLetterGate(policy) if policy is not None else None
        self._lets_pass = False
        self.reason = ""
        """Why the source is stopped; "" while it is not."""

    def trips(self, result: PublishingResult) -> str:
        """Count a batch before it is published. Returns why it must not be; "" if it may."""
        if self._gate is None or self._policy is None:
            return ""
        if self._lets_pass and result.dead:
            # Else a batch that trips the limit by itself would do so again after each reset.
            self._lets_pass = False
            return ""
        now = self._clock()
        self._gate.finished(now, result.published)
        self._gate.dead_lettered(now, result.dead)
        if self._gate.tripped_at is not None:
            newest = next(iter(result.refused.values()), (0, "see its dead letters"))[1]
            self.reason = (
                f"more than {self._policy.share:.0%} of what came within {self._policy.window} "
                f"cannot be mapped: {newest}. Nothing of this batch is published: mend the topic's "
                "function, or let these become dead letters by trunkline source resume"
            )
        return self.reason

    def reset(self) -> None:
        """A person has looked: go on, and let what tripped it become dead letters."""
        if self._gate is not None and self.reason:
            self._gate.reset()
            self._lets_pass, self.reason = True, ""
