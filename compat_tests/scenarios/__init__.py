"""What every client library must see, whatever it is written in: one list of scenarios, run once for each library.

A client folder subclasses `Scenarios` and names its adapter; each scenario is then a test of that client's. A library
that cannot do something says so (`Client.lacks`), and does not have the scenarios that need it.
"""

from compat_tests.scenarios.administering import Administering
from compat_tests.scenarios.consuming import Consuming
from compat_tests.scenarios.failing import Failing
from compat_tests.scenarios.grouping import Grouping
from compat_tests.scenarios.producing import Producing
from compat_tests.scenarios.transacting import Transacting


class Scenarios(Producing, Consuming, Grouping, Administering, Transacting, Failing):
    """The list. `adapter` is the client's."""
