"""Every action of a fault, against real clients: what the fault does, and what the client then does.

One list of stories for each of kafka-python, confluent-kafka, aiokafka, the Java client and franz-go, in the manner of
compat_tests/scenarios. Where libraries differ, the story says who does what: one that changes its mind is noticed.
"""

from compat_tests.faults.consuming import Consuming
from compat_tests.faults.grouping import Grouping
from compat_tests.faults.leading import Leading
from compat_tests.faults.producing import Producing
from compat_tests.faults.refusing import Refusing
from compat_tests.faults.transacting import Transacting


class FaultStories(Refusing, Producing, Consuming, Grouping, Transacting, Leading):
    """The list. `adapter` is the client's."""
