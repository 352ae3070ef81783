# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Write ``docs/reliability.md``: bring about every bad file and every fault, and note what is seen."""

from __future__ import annotations

import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]


def main() -> None:
    """Run all cases; takes about a minute."""
    sys.path.insert(0, str(REPO))
    from tests.reliability.table import PAGE, page

    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(REPO)}")


if __name__ == "__main__":
    main()
