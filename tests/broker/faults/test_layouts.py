"""The table of shapes, and errors for some partitions of an answer: every API in every version that is served, with
requests and answers made by the table, checked by looking at the answer as a client decodes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.broker.faults.layouts import LAYOUTS, NAMES_GROUPS, Layout, groups_in, layout_of, row_class, topics_in
from ottla.broker.faults.partitions import empty_answer, overwrite, put_in, take_out
from ottla.broker.faults.rules import Rule, parse_rule
from ottla.broker.handlers import handlers
from ottla.wire.apis import API, ApiKey
from ottla.wire.compiler import fields_of
from ottla.wire.errors import ErrorCode
from ottla.wire.schema import Message

CODE = ErrorCode.NOT_LEADER_OR_FOLLOWER
IDS = {name: bytes([at]) * 16 for at, name in enumerate("tuv", 1)}
SERVED = [
    (key, version) for key in LAYOUTS for version in range(handlers[key].min_version, handlers[key].max_version + 1)
]
Topics = dict[str, list[int]]


class Names:
    def names(self) -> Iterator[str]:
        return iter(IDS)

    def name_of(self, topic_id: bytes) -> str | None:
        return next((name for name, known in IDS.items() if known == topic_id), None)


def has(cls: Any, version: int, attribute: str) -> bool:
    return any(each.name == attribute and version in each.versions for each in fields_of(cls))


def struct_in(owner: Any, attribute: str) -> Any:
    """The class of the elements of a list."""
    element = next(each for each in fields_of(owner) if each.name == attribute).type.element
    assert element is not None
    return element.cls


def request_of(key: int, version: int, topics: Topics) -> Message:
    """A request that names `topics`, by names or ids as its version does."""
    layout = layout_of(key, version)
    assert layout is not None
    place = layout.asked
    request = API[key].request()
    holder: Any = request
    if place.within is not None:
        holder = struct_in(type(request), place.within)()
        setattr(request, place.within, [holder])
    rows: list[Any] = []
    for name, indexes in topics.items():
        if place.name is None:
            rows.append(name)
            continue
        cls = struct_in(type(holder), place.topics)
        row = cls()
        if place.id is not None and has(cls, version, place.id) and not (key == ApiKey.METADATA and version < 12):
            setattr(row, place.id, IDS[name])
            if key in (ApiKey.METADATA, ApiKey.DELETE_TOPICS):
                setattr(row, place.name, None)
        else:
            setattr(row, place.name, name)
        if place.partitions is not None:
            if place.index is None:
                setattr(row, place.partitions, list(indexes))
            else:
                inner = struct_in(cls, place.partitions)
                setattr(row, place.partitions, [inner(**{place.index: index}) for index in indexes])
        rows.append(row)
    setattr(holder, place.topics, rows)
    return type(request).decode(request.encode(version), version)


def served(key: int, layout: Layout, version: int, request: Message) -> Message:
    """The answer of a handler that finds nothing wrong: a row for each row, marked by no error."""
    answer: Any = empty_answer(key)
    told: Any = answer
    if layout.told.within is not None:
        told = struct_in(type(answer), layout.told.within)()
        setattr(answer, layout.told.within, [told])
    rows = getattr(told, layout.told.topics)
    for row in layout.asked.rows(request):
        said = {}
        if layout.told.name is not None:
            said[layout.told.name] = row if layout.asked.name is None else getattr(row, layout.asked.name)
        if layout.told.id is not None and layout.asked.id is not None:
            said[layout.told.id] = getattr(row, layout.asked.id)
        if key == ApiKey.METADATA and said["name"] is None:
            said["name"] = Names().name_of(row.topic_id)
        topic = row_class(key, layout.topic)(**said)
        rows.append(topic)
        if layout.told.partitions is not None:
            indexes = layout.asked.indexes(row)
            for index in range(3) if indexes is None else indexes:
                assert layout.partition is not None
                inner = row_class(key, layout.partition)(**{layout.told.index or "": index})
                getattr(topic, layout.told.partitions).append(inner)
    return answer


def codes_in(key: int, layout: Layout, answer: Message) -> dict[tuple[str, int | None], int]:
    """By (topic, partition) the errors of an answer; partition None: the topic's own."""
    codes: dict[tuple[str, int | None], int] = {}
    for row in layout.told.rows(answer):
        name = layout.told.name_in(row, Names())
        assert name is not None
        if layout.topic_error is not None or layout.told.partitions is None:
            assert (name, None) not in codes
            codes[name, None] = getattr(row, layout.topic_error or layout.error)
        if layout.told.partitions is not None:
            for each in getattr(row, layout.told.partitions):
                place = (name, getattr(each, layout.told.index or ""))
                assert place not in codes, "told twice"
                codes[place] = getattr(each, layout.error)
    return codes


def spoiled(key: int, version: int, topics: Topics, rule: Rule) -> tuple[Layout, Message, Message]:
    """What faults.py makes of a request and a rule: the request that is left, and the answer."""
    layout = layout_of(key, version)
    assert layout is not None
    request = request_of(key, version, topics)
    before = deepcopy(request)
    whole = rule.partition is None
    rest: Message | None = request
    taken: list[Any] = []
    if layout.applies and (whole or not (layout.topic_error and layout.asked.partitions is None)):
        rest, taken = take_out(key, version, layout, request, rule.touches, Names())
    assert request == before, "the request itself stays whole"
    answer = empty_answer(key) if rest is None else served(key, layout, version, rest)
    overwrite(key, layout, answer, rule.touches, Names(), CODE, whole=whole)
    put_in(key, layout, answer, taken, CODE)
    told = type(answer).decode(answer.encode(version), version)
    return layout, rest if rest is not None else API[key].request(), told


@pytest.mark.parametrize(("key", "version"), SERVED, ids=lambda each: str(each))
def test_a_topic_goes_wrong_and_the_others_are_served(key: int, version: int) -> None:
    topics = {"t": [0, 1], "u": [0, 2], "v": [1]}
    layout, rest, answer = spoiled(key, version, topics, parse_rule({"topic": "u", "error": CODE.name}))
    codes = codes_in(key, layout, answer)
    assert codes, "the answer says something"
    for (name, _), code in codes.items():
        assert code == (CODE if name == "u" else 0)
    assert {name for name, _ in codes} == set("tuv")
    if layout.applies:
        assert set(topics_in(key, version, rest, Names())) == {"t", "v"}


@pytest.mark.parametrize(
    ("key", "version"), [each for each in SERVED if LAYOUTS[each[0]][0].told.partitions], ids=lambda each: str(each)
)
def test_a_partition_goes_wrong_and_the_others_are_served(key: int, version: int) -> None:
    topics = {"t": [0, 1], "u": [0, 2]}
    layout, rest, answer = spoiled(key, version, topics, parse_rule({"topic": "u", "partition": 2, "error": CODE.name}))
    for place, code in codes_in(key, layout, answer).items():
        assert code == (CODE if place == ("u", 2) else 0), place
    if layout.applies and layout.asked.partitions is not None:
        assert topics_in(key, version, rest, Names()) == {"t": [0, 1], "u": [0]}


@given(
    st.sampled_from(SERVED),
    st.dictionaries(st.sampled_from("tuv"), st.lists(st.integers(0, 2), min_size=1, unique=True), min_size=1),
    st.none() | st.sampled_from("tuv"),
    st.none() | st.integers(0, 2),
)
def test_whatever_is_asked_an_untouched_partition_is_served_and_a_touched_one_is_not(
    served: tuple[int, int], topics: Topics, topic: str | None, partition: int | None
) -> None:
    key, version = served
    if topic is None and partition is None:
        return
    if LAYOUTS[key][0].told.partitions is None:
        partition = None
        topic = topic or "t"
    rule = parse_rule({"topic": topic, "partition": partition, "error": CODE.name})
    layout, _, answer = spoiled(key, version, topics, rule)
    codes = codes_in(key, layout, answer)
    for (name, index), code in codes.items():
        wrong = rule.touches(name, index) and (index is not None or partition is None)
        assert code == (CODE if wrong else 0), (name, index)
    if layout.asked.partitions is not None:
        assert set(codes) == {(name, index) for name, indexes in topics.items() for index in indexes}
    else:
        assert {name for name, _ in codes} == set(topics)


@pytest.mark.parametrize(("key", "version"), SERVED, ids=lambda each: str(each))
def test_the_topics_of_a_request_are_found(key: int, version: int) -> None:
    asked = topics_in(key, version, request_of(key, version, {"t": [0, 1], "v": [2]}), Names())
    without = LAYOUTS[key][0].asked.partitions is None
    assert asked == ({"t": None, "v": None} if without else {"t": [0, 1], "v": [2]})


@pytest.mark.parametrize(
    ("key", "version"), [(ApiKey.METADATA, 0), (ApiKey.METADATA, 9), (ApiKey.OFFSET_FETCH, 5), (ApiKey.OFFSET_FETCH, 8)]
)
def test_who_asks_for_all_topics_asks_for_each(key: int, version: int) -> None:
    request: Any = API[key].request()
    if key == ApiKey.OFFSET_FETCH and version >= 8:
        request.groups = [type(request).OffsetFetchRequestGroup(group_id="g", topics=None)]
    elif version == 0:
        request.topics = []
    else:
        request.topics = None
    assert topics_in(key, version, request, Names()) == dict.fromkeys("tuv")


def test_a_topic_that_an_id_names_no_more_is_nobodys() -> None:
    request: Any = API[ApiKey.PRODUCE].request()
    request.topic_data = [type(request).TopicProduceData(topic_id=bytes([9]) * 16)]
    assert topics_in(ApiKey.PRODUCE, 13, request, Names()) == {}
    layout = layout_of(ApiKey.PRODUCE, 13)
    assert layout is not None
    assert take_out(ApiKey.PRODUCE, 13, layout, request, lambda *_: True, Names()) == (request, [])


def test_configs_of_topics_name_topics() -> None:
    request: Any = API[ApiKey.DESCRIBE_CONFIGS].request()
    resource = type(request).DescribeConfigsResource
    request.resources = [resource(resource_type=2, resource_name="t"), resource(resource_type=4, resource_name="1")]
    assert topics_in(ApiKey.DESCRIBE_CONFIGS, 4, request, Names()) == {"t": None}


@pytest.mark.parametrize("key", sorted(NAMES_GROUPS), ids=lambda key: API[key].name)
def test_the_groups_of_a_request_are_found(key: int) -> None:
    for version in range(handlers[key].min_version, handlers[key].max_version + 1):
        request: Any = API[key].request()
        for attribute, value in (
            ("group_id", "g"),
            ("groups", ["g"]),
            ("groups_names", ["g"]),
            ("group_ids", ["g"]),
            ("key", "g"),
            ("coordinator_keys", ["g"]),
        ):
            if has(type(request), version, attribute):
                if (key, attribute) == (ApiKey.OFFSET_FETCH, "groups"):
                    value = [type(request).OffsetFetchRequestGroup(group_id="g")]
                setattr(request, attribute, value)
        assert groups_in(key, version, request) == {"g"}


def test_the_coordinator_of_a_transactional_id_is_no_group() -> None:
    request: Any = API[ApiKey.FIND_COORDINATOR].request()
    request.key, request.key_type = "g", 1
    assert groups_in(ApiKey.FIND_COORDINATOR, 3, request) == frozenset()
