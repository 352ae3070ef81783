# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Report content as plain JSON values.

All texts are plain text, never markup; :func:`~monai_cxrssl.report.page.page.write_page` escapes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from monai_cxrssl.errors import ConfigurationError

__all__ = ["Content", "Flag", "FlagLevel", "Picture", "Section", "Table", "TableCell"]

FlagLevel = Literal["good", "warning", "bad", "unknown"]
#: None, like NaN, stands for what is not assessable.
TableCell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        caption: what it shows.
        columns: headings; the first column names the row.
        rows: as many cells each as there are columns.
        note: a remark under the table, may be empty.

    Raises:
        ConfigurationError: a row has more or fewer cells than there are columns.
    """

    caption: str
    columns: list[str]
    rows: list[list[TableCell]]
    note: str = ""

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ConfigurationError(
                    f"Row {number} of the table {self.caption!r} has {len(row)} cells for {len(self.columns)} columns; "
                    "give one for each."
                )


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        file: PNG or JPEG file, relative to the folder of the report.
        alt: what it shows, for who cannot see it.
        caption: printed under it.
    """

    file: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Flag:
    """One finding in words.

    Attributes:
        level: ``"good"``, ``"warning"``, ``"bad"``, or ``"unknown"`` for what could not be assessed.
        text: a sentence.
    """

    level: FlagLevel
    text: str


@dataclass(frozen=True)
class Section:
    """One section of the page.

    Attributes:
        id: anchor, unique on the page.
        title: heading.
        text: paragraphs.
        flags: findings.
        tables: tables.
        pictures: pictures.
    """

    id: str
    title: str
    text: list[str] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


@dataclass(frozen=True)
class Content:
    """The whole page.

    Attributes:
        title: heading of the page.
        subtitle: model and data, in a line.
        created: date and versions, for the footer.
        verdict: of :func:`~monai_cxrssl.report.overall_sentence`.
        criteria: of :meth:`~monai_cxrssl.report.Criterion.to_dict`.
        flags: the findings that come first.
        sections: in their order.
        card: the model card, ``{"section", "field", "value", "item"}`` each, as ``asdict`` of
            :class:`~monai_cxrssl.report.CardField`.
    """

    title: str
    subtitle: str
    created: str
    verdict: str
    criteria: list[dict[str, Any]] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    card: list[dict[str, Any]] = field(default_factory=list)
