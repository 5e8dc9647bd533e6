"""The picture: points where they belong, text escaped, and nothing where nothing was measured."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from bench.picture import Chart, Line, decades, draw

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    ("values", "exponents"),
    [
        ([20.0, 30.0], [1, 2]),
        ([10.0], [1, 2]),
        ([100.0, 1000.0], [2, 3]),
        ([0.5, 1001.0], [-1, 0, 1, 2, 3, 4]),
    ],
)
def test_decades(values: list[float], exponents: list[int]) -> None:
    assert list(decades(values)) == exponents


def points(line: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+),([\d.]+)", line.attrib["points"])]


def test_equal_ratios_are_equal_distances() -> None:
    lines = [
        Line("flat", [(1, 20.0), (10, 20.0), (100, 20.0)], 0, 0),
        Line("linear", [(1, 10.0), (10, 100.0), (100, 1000.0)], 1, 1),
    ]
    drawn = ElementTree.fromstring(draw([Chart("what & why", (1, 10, 100), lines)]))
    flat, linear = (points(line) for line in drawn.iter(f"{SVG}polyline"))
    assert [y for _, y in flat] == [flat[0][1]] * 3
    steps = [(linear[at + 1][0] - linear[at][0], linear[at][1] - linear[at + 1][1]) for at in (0, 1)]
    assert steps[0] == pytest.approx(steps[1], abs=0.2)
    assert steps[0][1] == pytest.approx(75, abs=0.2)  # of 150, for one of two decades
    assert [x for x, _ in flat] == [x for x, _ in linear]


def test_what_was_not_measured_is_not_there() -> None:
    empty = Chart("nobody knows", (1, 10), [Line("none", [], 0, 0)])
    one = Chart("what & why", (1, 10), [Line("a < b", [(1, 5.0)], 0, 0), Line("none", [], 1, 0)])
    texts = [text.text for text in ElementTree.fromstring(draw([empty, one])).iter(f"{SVG}text")]
    assert "what & why" in texts
    assert "a < b" in texts
    assert not {"nobody knows", "none"} & set(texts)
    assert list(ElementTree.fromstring(draw([empty]))) != []  # and that is a picture, too


def test_a_long_legend_does_not_reach_the_charts_below() -> None:
    lines = [Line(f"line {at}", [(1, 5.0 + at)], at, 0) for at in range(12)]
    drawn = ElementTree.fromstring(draw([Chart(f"chart {at}", (1, 10), lines) for at in range(4)]))
    above, *_, below = [int(group.attrib["transform"][:-1].split()[-1]) for group in drawn.iter(f"{SVG}g")]
    lowest = max(float(text.attrib["y"]) for text in next(drawn.iter(f"{SVG}g")).iter(f"{SVG}text"))
    assert above + lowest + 10 < below
    assert below + lowest < float(drawn.attrib["height"])
