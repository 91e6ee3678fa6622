"""``trunkline doctor``: what is wrong around flows, and how to mend it.

``examine`` looks at everything, each check in a module of its own: the machine, Kafka, the
registry, the flows and their systems. It yields a ``Diagnosis`` for each thing that was looked at.
"""

from trunkline.admin.doctor.diagnosis import Diagnosis, Verdict
from trunkline.admin.doctor.examination import examine

__all__ = ["Diagnosis", "Verdict", "examine"]
