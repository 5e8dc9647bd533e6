"""Brokers for tests, in the test's own process: `with Broker() as broker:`, and the same with `async with` in trio.

Importing this imports trio and the broker; the pytest plugin does so when a fixture is asked for.
"""

from ottla.broker.group_views import GroupView, MemberView
from ottla.testing.broker import AsyncBroker, Broker
from ottla.testing.requests import Records, Request
from ottla.testing.view import Record, TopicView
from ottla.testing.watch import UnexpectedRecordsError, WaitTimeoutError

__all__ = [
    "AsyncBroker",
    "Broker",
    "GroupView",
    "MemberView",
    "Record",
    "Records",
    "Request",
    "TopicView",
    "UnexpectedRecordsError",
    "WaitTimeoutError",
]
