"""Draw the states of a classic group into docs/groups.md, from the table that the coordinator goes by.

python -m tools.draw_groups          write the diagram
python -m tools.draw_groups --check  exit code 1 if the one that is there is another
"""

from __future__ import annotations

import sys
from pathlib import Path

from ottla.coordinator.group.classic import TRANSITIONS, GroupState, Trigger

PAGE = Path(__file__).resolve().parent.parent / "docs" / "groups.md"
BEGIN, END = "<!-- drawn by tools/draw_groups.py -->\n", "<!-- end -->\n"
SAID = {
    Trigger.REBALANCE: "a member came, left, went silent or changed",
    Trigger.JOINED: "all joined, or time is up",
    Trigger.DESERTED: "nobody is left",
    Trigger.ASSIGNED: "the leader's assignment is written",
    Trigger.DELETED: "deleted, expired, or the broker stops",
}


def diagram() -> str:
    """The states and their moves, as Mermaid draws them."""
    lines = ["stateDiagram-v2", f"    [*] --> {GroupState.EMPTY.value}: first join or commit"]
    lines += [
        f"    {before.value} --> {after.value}: {SAID[trigger]}" for (before, trigger), after in TRANSITIONS.items()
    ]
    lines.append(f"    {GroupState.DEAD.value} --> [*]")
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def with_diagram(page: str) -> str:
    """The page with the diagram as it is now."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + diagram() + END + rest.split(END)[1]


def main() -> int:
    page = PAGE.read_text(encoding="utf-8")
    drawn = with_diagram(page)
    if "--check" in sys.argv[1:]:
        if drawn != page:
            print(
                "docs/groups.md: the diagram is not that of TRANSITIONS; run python -m tools.draw_groups",
                file=sys.stderr,
            )
        return int(drawn != page)
    PAGE.write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
