"""Answers compared: what a broker makes up may be another, consistently; everything else counts."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from ottla.commands.comparing import ABSENT, Difference, Matching, error_codes
from ottla.wire.message_json import decode_bytes
from ottla.wire.records import Record, TimestampType, batches, build_batch, build_control_batch

NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
ONE, TWO, THREE = ("A" * 21 + letter for letter in "QgA")
THREE = "B" + THREE[1:]


def compared(before: Any, after: Any, api: str = "Metadata") -> list[tuple[str, Any, Any]]:
    return told(Matching(), before, after, api)


def told(matching: Matching, before: Any, after: Any, api: str = "Metadata") -> list[tuple[str, Any, Any]]:
    return [(each.path, each.before, each.after) for each in matching.compare(api, before, after)]


@pytest.mark.parametrize(
    ("before", "after", "differences"),
    [
        ({"errorCode": 0}, {"errorCode": 3}, [("errorCode", 0, 3)]),
        ({"a": {"b": [{"name": "x", "c": 1}]}}, {"a": {"b": [{"name": "x", "c": 2}]}}, [("a.b[x].c", 1, 2)]),
        ({"a": 1}, {}, [("a", 1, ABSENT)]),
        ({}, {"a": 1}, [("a", ABSENT, 1)]),
        ({"a": None}, {"a": []}, [("a", None, [])]),
        ({"a": 1}, {"a": True}, [("a", 1, True)]),
        ({"throttleTimeMs": 0}, {"throttleTimeMs": 9}, []),
        ({"a": [1, 2]}, {"a": [2, 1]}, []),
        ({"a": [1, 2]}, {"a": [1]}, [("a", [1, 2], [1])]),
        ({"replicaNodes": [1, 2]}, {"replicaNodes": [2, 1]}, [("replicaNodes", [1, 2], [2, 1])]),
    ],
)
def test_fields(before: Any, after: Any, differences: list[Any]) -> None:
    assert compared(before, after) == differences


@pytest.mark.parametrize(
    ("name", "before", "after", "same"),
    [
        ("timestamp", 5, 7, True),
        ("timestamp", -1, 7, False),
        ("logAppendTimeMs", 5, 7, True),
        ("transactionStartTimeMs", 5, -1, False),
        ("expiryTimestampMs", 5, 7, True),
        ("finalizedFeaturesEpoch", 3, 19, True),
        ("sessionTimeoutMs", 5, 7, False),
        ("highWatermark", 5, 7, False),
    ],
)
def test_times_have_to_be_there_or_not(name: str, before: int, after: int, same: bool) -> None:
    assert (compared({name: before}, {name: after}) == []) is same


def test_some_fields_pass_in_some_apis_only() -> None:
    assert compared({"highWatermark": 5}, {"highWatermark": 7}, "DescribeQuorum") == []
    assert compared({"usableBytes": 5}, {"usableBytes": 7}, "DescribeLogDirs") == []
    assert compared({"usableBytes": 5}, {"usableBytes": -1}, "DescribeLogDirs") != []


class TestIds:
    """What the one calls X the other may call Y, from then on."""

    @pytest.mark.parametrize(
        ("name", "first", "second", "third", "nobody"),
        [
            ("topicId", ONE, TWO, THREE, NO_ID),
            ("producerId", 1000, 0, 7, -1),
            ("memberId", "me-1", "me-2", "me-3", ""),
            ("leader", "me-1", "me-2", "me-3", ""),
            ("sessionId", 17, 99, 3, 0),
            ("clusterId", "one", "two", "three", None),
            ("host", "a", "b", "c", ""),
            ("port", 9092, 19092, 1, -1),
            ("leaderId", 1, 2, 3, -1),
        ],
    )
    def test_of_each_kind(self, name: str, first: Any, second: Any, third: Any, nobody: Any) -> None:
        matching = Matching()
        assert told(matching, {name: first}, {name: second}) == []
        assert told(matching, {name: first}, {name: second}) == []
        assert told(matching, {name: first}, {name: third}) == [(name, second, third)]
        assert told(matching, {name: third}, {name: second}) == [(name, third, second)]  # it is somebody else
        assert told(matching, {name: nobody}, {name: nobody}) == []
        assert told(matching, {name: nobody}, {name: third}) == [(name, nobody, third)]
        assert told(matching, {name: third}, {name: nobody}) == [(name, third, nobody)]
        assert matching.translate({"x": [{name: first}, {name: third}, {name: nobody}]}) == {
            "x": [{name: second}, {name: third}, {name: nobody}]
        }

    def test_a_leader_that_is_a_number_is_none_of_them(self) -> None:
        assert compared({"leader": 1}, {"leader": 2}) == [("leader", 1, 2)]

    def test_what_is_tried_is_not_learnt(self) -> None:
        matching = Matching()
        assert matching.compare("Fetch", {"topicId": ONE}, {"topicId": TWO}, learn=False) == []
        assert matching.translate({"topicId": ONE}) == {"topicId": ONE}

    def test_in_texts_for_people(self) -> None:
        matching = Matching()
        matching.match("member", "client-0123", "client-4567")
        matching.match("port", 9092, 19092)
        before = {"errorMessage": "client-0123 at 127.0.0.1:9092 is unknown"}
        assert told(matching, before, {"errorMessage": "client-4567 at 127.0.0.1:19092 is unknown"}) == []
        assert len(told(matching, before, {"errorMessage": "client-9999 at 127.0.0.1:19092 is unknown"})) == 1

    def test_times_in_texts_for_people(self) -> None:
        before, after = "within [-1, 1700000000001]", "within [-1, 1800000000001]"
        assert compared({"errorMessage": before}, {"errorMessage": after}) == []
        assert compared({"value": before}, {"value": after}) == [("value", before, after)]

    def test_members_whose_ids_are_new_are_told_apart_by_the_rest(self) -> None:
        matching = Matching()
        matching.match("member", "a-1", "a-9")
        before = [{"memberId": "a-1", "metadata": "A"}, {"memberId": "b-1", "metadata": "B"}]
        before.append({"memberId": "c-1", "metadata": "C"})
        after = [{"memberId": "c-9", "metadata": "C"}, {"memberId": "b-9", "metadata": "B"}]
        after.append({"memberId": "a-9", "metadata": "X"})
        assert told(matching, {"members": before}, {"members": after}) == [("members[a-1].metadata", "A", "X")]
        assert matching.translate({"memberId": "c-1"}) == {"memberId": "c-9"}

    def test_a_topic_is_found_by_its_name_before_its_id_is_known(self) -> None:
        matching = Matching()
        before = [{"name": "a", "topicId": ONE}, {"name": "b", "topicId": TWO}]
        after = [{"name": "b", "topicId": THREE}, {"name": "a", "topicId": TWO}]
        assert told(matching, {"topics": before}, {"topics": after}) == []
        assert matching.translate([{"topicId": ONE}, {"topicId": TWO}]) == [{"topicId": TWO}, {"topicId": THREE}]


def test_elements_that_the_other_lacks() -> None:
    one, two = {"name": "a", "v": 1}, {"name": "b", "v": 1}
    assert compared({"x": [one, two]}, {"x": [one]}) == [("x[b]", two, ABSENT)]
    assert compared({"x": [one]}, {"x": [two, one]}) == [("x[b]", ABSENT, two)]
    assert compared({"x": []}, {"x": [{"v": 1}]}) == [("x[0]", ABSENT, {"v": 1})]


def test_many_elements_without_names_are_taken_as_they_stand() -> None:
    many = [{"v": number} for number in range(100)]
    assert compared({"x": many}, {"x": many}) == []
    assert compared({"x": many}, {"x": many[:-1]}) == [("x[99]", {"v": 99}, ABSENT)]


def test_fields_that_are_not_to_be_compared() -> None:
    matching = Matching(["errorMessage", "Fetch.highWatermark"])
    before, after = {"errorMessage": "a", "highWatermark": 1}, {"errorMessage": "b", "highWatermark": 2}
    assert matching.compare("Fetch", before, after) == []
    assert matching.compare("Produce", before, after) == [Difference("highWatermark", 1, 2)]


def test_a_difference_is_a_sentence() -> None:
    assert str(Difference("topics[a].errorCode", 0, 3)) == (
        "topics[a].errorCode: was 0 (NONE), is 3 (UNKNOWN_TOPIC_OR_PARTITION)"
    )
    assert str(Difference("x.partitionErrorCode", 9999, ABSENT)) == "x.partitionErrorCode: was 9999, is <absent>"
    assert str(Difference("name", "a", None)) == "name: was 'a', is None"


def test_error_codes() -> None:
    answer = {"errorCode": 1, "topics": [{"errorCode": 2, "x": [{"partitionErrorCode": 3}]}], "errorMessage": "no"}
    assert list(error_codes(answer)) == [1, 2, 3]


class TestRecords:
    """Record batches are compared by what they say."""

    @staticmethod
    def batch(*values: bytes, timestamp_ms: int = 5, **options: Any) -> bytearray:
        records = [Record(at, timestamp_ms, b"k", value, [("h", b"1")]) for at, value in enumerate(values)]
        return build_batch(records, **options)

    @staticmethod
    def of(*parts: bytes) -> dict[str, Any]:
        return {"partitions": [{"index": 0, "records": b64encode(b"".join(parts)).decode()}]}

    def test_equal_ones(self) -> None:
        assert compared(self.of(self.batch(b"a")), self.of(self.batch(b"a"))) == []
        assert compared(self.of(), self.of()) == []

    def test_a_value(self) -> None:
        assert compared(self.of(self.batch(b"a", b"b")), self.of(self.batch(b"a", b"\xff"))) == [
            ("partitions[0].records[0].records[1].value", "b", "\\xff")
        ]

    def test_a_batch_more_and_a_cut_one(self) -> None:
        one, two = self.batch(b"a"), self.batch(b"b")
        assert compared(self.of(one, two[:30]), self.of(one)) == []
        ((path, before, _),) = compared(self.of(one), self.of(one, two))
        assert (path, before) == ("partitions[0].records[1]", ABSENT)

    def test_times_of_clients_count_and_those_of_brokers_do_not(self) -> None:
        assert compared(self.of(self.batch(b"a")), self.of(self.batch(b"a", timestamp_ms=6))) == [
            ("partitions[0].records[0].records[0].createTimeMs", 5, 6)
        ]
        stamped = TimestampType.LOG_APPEND_TIME
        one, other = (self.batch(b"a", timestamp_ms=time_ms, timestamp_type=stamped) for time_ms in (5, 6))
        assert compared(self.of(one), self.of(other)) == []
        one, other = (build_control_batch(1, 0, True, 0, timestamp_ms=time_ms) for time_ms in (5, 6))
        assert compared(self.of(one), self.of(other)) == []

    def test_producers_are_matched_and_sent_on(self) -> None:
        matching = Matching()
        assert told(matching, {"producerId": 7}, {"producerId": 4000}) == []
        before = self.of(self.batch(b"a", producer_id=7, producer_epoch=0, base_sequence=0), self.batch(b"b"))
        after = self.of(self.batch(b"a", producer_id=4000, producer_epoch=0, base_sequence=0), self.batch(b"b"))
        assert told(matching, before, after) == []
        assert matching.translate(before) == after
        sent = matching.translate(before)["partitions"][0]["records"]
        assert all(batch.is_valid_crc() for batch in batches(decode_bytes(sent)))

    def test_what_is_no_batch_is_compared_as_it_is(self) -> None:
        odd = self.of(b"\xff" * 70)
        assert Matching().translate(odd) == odd
        assert compared(odd, odd) == []
        assert [path for path, *_ in compared(odd, self.of(b"\xfe" * 70))] == ["partitions[0].records"]
        assert [path for path, *_ in compared(odd, self.of())] == ["partitions[0].records"]
