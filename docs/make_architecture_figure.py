# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Draw the rooms of the package and their imports, as they are in the checkout.

    python docs/make_architecture_figure.py [--output docs/images/architecture.png]

The imports come from grimp, the rows from the contracts of import-linter in ``pyproject.toml``. All imports between
rooms are written beside the picture, as ``architecture.json``; the picture leaves out those that a path implies.
"""

from __future__ import annotations

import argparse
import ast
import json
import textwrap
from dataclasses import dataclass
from pathlib import Path

import grimp
from importlinter.api import read_configuration
from make_flow_figure import AMBER, BLUE, GREEN, GREY, GROUND, LINE, Sheet

REPOSITORY = Path(__file__).parents[1]
PACKAGE = "monai_cxrssl"
WIDE = 900
#: What every room may use; they are drawn as the ground, without arrows.
BASE = ("errors", "files", "cores")
#: Left end and width of each room.
PLACES = {
    "apps": (290, 330), "curricula": (200, 190), "tuning": (640, 180), "report": (110, 250),
    "label_efficiency": (630, 200), "runs": (360, 290), "engines": (400, 180),
    "handlers": (125, 230), "checkpoints": (30, 180), "probing": (250, 190), "hardware": (250, 170),
    "methods": (450, 160), "optim": (640, 150), "networks": (200, 270), "losses": (480, 150), "metrics": (640, 160),
    "transforms": (250, 330), "data": (100, 730), "phantom": (360, 210),
    "audit": (40, 300), "sampling": (390, 300), "sources": (20, 190), "stores": (225, 275), "datalists": (215, 300),
    "dicom_results": (515, 190), "reading": (215, 300),
}  # fmt: skip
GROUPS = (
    ("what a user starts", GREEN, ("apps", "curricula", "report", "label_efficiency", "tuning")),
    ("what makes a run", BLUE, ("runs", "engines", "handlers", "probing", "checkpoints")),
    ("what learns", AMBER, ("methods", "hardware", "optim", "networks", "losses", "metrics")),
    ("what it learns from", GREY, ("transforms", "data", "phantom")),
)
COLOURS = {room: colour for _, colour, rooms in GROUPS for room in rooms}
#: Height of a room, the space below it for arrows, and the height of a room inside another.
HIGH, SPACE, INNER = 44, 28, 32
#: Distance of arrows that pass a row side by side.
LANE = 14
Imports = dict[str, list[str]]


def imports_between(package: str) -> Imports:
    """Imports between the rooms of a package, rooms without any included."""
    graph = grimp.build_graph(PACKAGE)
    rooms = sorted(graph.find_children(package))

    def room(module: str) -> str | None:
        return next((one for one in rooms if module == one or module.startswith(f"{one}.")), None)

    pairs = {
        (room(module), room(imported))
        for module in graph.modules
        for imported in graph.find_modules_directly_imported_by(module)
    }
    return {
        one.removeprefix(f"{package}."): sorted(
            str(other).removeprefix(f"{package}.")
            for start, other in pairs
            if start == one and other not in (None, one)
        )
        for one in rooms
        if not one.endswith(".__main__")
    }


def without_implied(imports: Imports) -> Imports:
    """Leave out the imports that a path of others implies, and those of the ground."""

    def reached(room: str) -> set[str]:
        return {below for other in imports[room] for below in {other, *reached(other)}}

    return {
        room: [one for one in others if one not in BASE and not any(one in reached(other) for other in others)]
        for room, others in imports.items()
        if room not in BASE
    }


def rows_of(contract: str) -> list[list[str]]:
    """Rows of rooms, from top to bottom, as a contract of import-linter has them."""
    contracts = read_configuration(str(REPOSITORY / "pyproject.toml"))["contracts_options"]
    layers = next(options["layers"] for options in contracts if options["name"] == contract)
    rows = [layer.replace("|", " ").replace(":", " ").split() for layer in layers]
    return [[room for room in row if room not in (*BASE, "__main__")] for row in rows]


def noun_phrase(folder: Path, width: int, lines: int) -> list[str]:
    """The first line of a room's docstring in lines of this width; what stands before its colon where it is longer."""
    phrase = (ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))) or "").split("\n")[0]
    phrase = phrase.replace("`", "").rstrip(".")
    wrapped = textwrap.wrap(phrase, width)
    return wrapped if len(wrapped) <= lines else textwrap.wrap(phrase.split(";")[0].split(":")[0], width)


@dataclass
class Box:
    """A room on the sheet, and the row that it stands in."""

    row: int
    x: float
    y: float
    wide: float
    tall: float

    def nearest(self, x: float, edge: float = 16) -> float:
        """The place on the room's upper or lower side that is nearest to ``x``."""
        return min(max(x, self.x + edge), self.x + self.wide - edge)

    def ports(self, wanted: list[float], apart: float = LANE) -> list[float]:
        """Places on one side for arrows that come from these places, in their order, none on top of another."""
        places: list[float] = []
        for x in sorted(wanted):
            places.append(max(self.nearest(x), places[-1] + apart if places else 0))
        over = max(places[-1] - (self.x + self.wide - 10), 0) if places else 0
        return [x - over for x in places]


def way(boxes: dict[str, Box], start: Box, end: Box, taken: set[tuple[int, int]]) -> list[tuple[float, int]]:
    """Places between rooms, x and row, at which an arrow passes the rows in its way: straight down where it can."""
    x = start.nearest(end.nearest(start.x + start.wide / 2))
    goal = end.nearest(x)
    places = []
    for row in range(start.row + 1, end.row):
        sides = sorted((box.x - 10, box.x + box.wide + 10) for box in boxes.values() if box.row == row)
        ends = [10.0, *(side for pair in sides for side in pair), WIDE - 50.0]
        gaps = [(low, high) for low, high in zip(ends[::2], ends[1::2], strict=True) if low <= high]
        # The way by each gap, and of equal ways the one that turns last.
        low, high = min(gaps, key=lambda gap: _detour(gap, x, goal))
        x = min(max(x, low), high)
        step = LANE if x - LANE < low else -LANE
        while (row, round(x / LANE)) in taken:
            x += step
        taken.add((row, round(x / LANE)))
        places.append((x, row))
    return places


def _detour(gap: tuple[float, float], x: float, goal: float) -> tuple[float, float]:
    nearest = min(max(x, gap[0]), gap[1])
    return abs(nearest - x) + abs(nearest - goal), abs(nearest - x)


def arrows(sheet: Sheet, boxes: dict[str, Box], imports: Imports, width: float) -> None:
    """Draw the imports, from each room down to those that it uses."""
    tops = {box.row: box.y for box in boxes.values()}
    bottoms = {box.row: box.y + box.tall for box in boxes.values()}
    pairs = [(start, end) for start, ends in imports.items() for end in ends]
    taken: set[tuple[int, int]] = set()
    ways = {}
    for start, end in sorted(pairs, key=lambda pair: boxes[pair[1]].row - boxes[pair[0]].row):
        ways[start, end] = way(boxes, boxes[start], boxes[end], taken)
    ports: dict[tuple[tuple[str, str], bool], float] = {}
    for name, box in boxes.items():
        for side in (False, True):
            goals = {}
            for pair in (pair for pair in pairs if pair[side] == name):
                other = boxes[pair[not side]]
                passed = ways[pair]
                goals[pair] = passed[-side][0] if passed else other.nearest(box.x + box.wide / 2)
            order = sorted(goals, key=lambda pair: goals[pair])
            for pair, x in zip(order, box.ports(list(goals.values())), strict=True):
                ports[pair, side] = x
    for pair, passed in ways.items():
        start, end = (boxes[name] for name in pair)
        points = [(ports[pair, False], bottoms[start.row])]
        for x, row in passed:
            points += [(x, tops[row]), (x, bottoms[row])]
        colour = COLOURS.get(pair[0], GREY)
        sheet.arrow(*points, (ports[pair, True], tops[end.row] - 1), colour=colour, width=width)


def room(sheet: Sheet, box: Box, name: str, folder: Path, inner: bool = False) -> None:
    """Draw a room: its name, number of files, what it is, and the rooms inside."""
    colour = COLOURS.get(name, GREY)
    files = len(list(folder.rglob("*.py")))
    sheet.box(box.x, box.y, box.wide, box.tall, face="white" if inner else GROUND, edge=LINE if inner else colour)
    sheet.text(box.x + 9, box.y + 11, name, 7.5 if inner else 8.5, weight="bold")
    sheet.text(box.x + box.wide - 8, box.y + 11, f"{files} files", 6.3, color=GREY, ha="right")
    inside = [] if inner or name == "data" else sorted(path.parent.name for path in folder.glob("*/__init__.py"))
    lines = [(line, GREY) for line in noun_phrase(folder, int(box.wide / 4.8), 1 if inner or inside else 2)]
    lines += [(" · ".join(inside), colour)] if inside else []
    for number, (line, shade) in enumerate(lines):
        sheet.text(box.x + 9, box.y + 24 + 11 * number, line, 6.5, color=shade)


def draw(imports: Imports, inside: Imports) -> bytes:
    """Return the picture as a PNG.

    Args:
        imports: between the rooms of the package.
        inside: between the rooms of ``data``.
    """
    folder = REPOSITORY / PACKAGE
    boxes: dict[str, Box] = {}
    inner: dict[str, Box] = {}
    y = 12.0
    for row, rooms in enumerate(row for row in rows_of("Rooms of the package, from top to bottom") if row):
        tall = float(HIGH)
        if "data" in rooms:
            lines = rows_of("Rooms of data")
            tall = 34 + len(lines) * INNER + (len(lines) - 1) * 20 + 8
            for line, names in enumerate(lines):
                for name in names:
                    x, wide = PLACES[name]
                    inner[name] = Box(line, PLACES["data"][0] + x, y + 34 + line * (INNER + 20), wide, INNER)
        for name in rooms:
            x, wide = PLACES[name]
            boxes[name] = Box(row, x, y, wide, tall)
        y += tall + SPACE
    sheet = Sheet(WIDE, y + 38)
    for name, box in boxes.items():
        room(sheet, box, name, folder / name)
    for name, box in inner.items():
        room(sheet, box, name, folder / "data" / name, inner=True)
    arrows(sheet, boxes, without_implied(imports), 1.1)
    arrows(sheet, inner, without_implied(inside), 0.9)
    sheet.box(30, y, 800, 26, face="white", edge=LINE)
    ground = " · ".join(f"{name}.py" for name in BASE)
    sheet.text(430, y + 13, f"{ground}: any room may use them", 7, color=GREY, ha="center")
    for words, colour, rooms in GROUPS:
        top = min(boxes[name].y for name in rooms)
        bottom = max(boxes[name].y + boxes[name].tall for name in rooms)
        sheet.axis.plot([866, 866], [top, bottom], color=colour, lw=2)
        sheet.text(880, (top + bottom) / 2, words, 8, color=colour, weight="bold", rotation=90, ha="center")
    return sheet.png()


def main() -> None:
    """Write the picture and its imports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "images" / "architecture.png")
    options = parser.parse_args()
    imports = {package: imports_between(package) for package in (PACKAGE, f"{PACKAGE}.data")}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_bytes(draw(*imports.values()))
    options.output.with_suffix(".json").write_text(json.dumps(imports, indent=1) + "\n", encoding="utf-8")
    print(f"written: {options.output}, {options.output.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main()
