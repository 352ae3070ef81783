# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Write the files of every bundle from the parts they share and what is its own: ``python bundles/compose.py``.

A bundle must be a folder that works alone, and MONAI's config language takes other files only by a path from the
working directory. So what bundles share is written once, in ``bundles/parts/<family>/``, what is a bundle's own in
``bundles/parts/<name>.json`` and ``<name>.md``, and this script puts them together. ``--check`` only says which files
are not what it would write, with exit status 1.

In ``<name>.json``, ``train``, ``evaluate``, ``inference``, ``multi_gpu_train`` and ``metadata`` hold changes of the
family's file: an id as MONAI writes it (``train#method``) with its new value; ``-id`` takes an entry away, and
``train#handlers#+1`` puts one into a list, before what is at that place. ``__NAME__`` stands for the bundle's name.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

BUNDLES = Path(__file__).parent
PARTS = BUNDLES / "parts"
CONFIGS = ("train", "evaluate", "inference", "multi_gpu_train", "metadata")
#: Beside ``configs/`` at the bundle's root too, for a short command; a copy, because links break in archives.
ROOT_COPIES = ("train.json", "metadata.json", "logging.conf")


def change(content: Any, changes: dict[str, Any]) -> None:
    """Apply changes to a config, in place; see the module's text."""
    for name, value in changes.items():
        *path, last = name.removeprefix("-").split("#")
        place = content
        for step in path:
            place = place[int(step) if isinstance(place, list) else step]
        if name.startswith("-"):
            del place[int(last) if isinstance(place, list) else last]
        elif isinstance(place, list) and last.startswith("+"):
            place.insert(int(last[1:]), value)
        elif place is content and last not in content and "train" in content:
            # Options stand together, before what is built of them.
            later = {key: content.pop(key) for key in list(content)[list(content).index("train") :]}
            content |= {last: value, **later}
        else:
            place[int(last) if isinstance(place, list) else last] = value


def page(template: str, own: str, name: str) -> str:
    """Put the sections of a bundle's own text into the family's page, at ``{{section}}``."""
    sections = dict(re.findall(r"<!-- (\w+) -->\n(.*?)\n*(?=<!-- \w+ -->|\Z)", own, flags=re.DOTALL))
    wanted = set(re.findall(r"\{\{(\w+)\}\}", template))
    if wanted != set(sections):
        raise SystemExit(f"parts/{name}.md has the sections {sorted(sections)}, the page wants {sorted(wanted)}.")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: sections[match[1]].strip("\n"), template)


def with_defaults(text: str, recipes: dict[str, dict[str, Any]]) -> str:
    """Fill ``[[option]]`` with the option's values in both recipes."""

    def values(match: re.Match[str]) -> str:
        short, full = (json.dumps(recipes[recipe][match[1]]).replace("null", "none") for recipe in ("short", "full"))
        both = [value.strip('"') for value in (short, full)]
        return f"`{both[0]}`" if short == full else f"`{both[0]}` / `{both[1]}`"

    return re.sub(r"\[\[(\w+)\]\]", values, text)


def compose(name: str) -> dict[Path, str]:
    """Return path, below ``bundles/``, and text of every composed file of a bundle."""
    own = json.loads((PARTS / f"{name}.json").read_text(encoding="utf-8"))
    family = PARTS / own["family"]
    texts = {}
    for config in CONFIGS:
        content = json.loads((family / f"{config}.json").read_text(encoding="utf-8"))
        if config == "multi_gpu_train":  # itself a list of changes, to train.json
            content |= own.get(config, {})
            content = {key: value for key, value in content.items() if f"-{key}" not in content and key[0] != "-"}
        else:
            change(content, own.get(config, {}))
        texts[f"configs/{config}.json"] = json.dumps(content, indent=4, ensure_ascii=False) + "\n"
    texts["configs/logging.conf"] = (PARTS / "logging.conf").read_text(encoding="utf-8")
    texts["docs/data_license.txt"] = (PARTS / "data_license.txt").read_text(encoding="utf-8")
    template = (family / "README.md").read_text(encoding="utf-8")
    readme = page(template, (PARTS / f"{name}.md").read_text(encoding="utf-8"), name)
    texts["docs/README.md"] = with_defaults(readme, json.loads(texts["configs/train.json"]).get("recipes", {}))
    texts["LICENSE"] = (BUNDLES.parent / "LICENSE").read_text(encoding="utf-8")
    texts["models/.gitkeep"] = ""
    texts |= {copy: texts[f"configs/{copy}"] for copy in ROOT_COPIES}
    return {Path(name) / path: text.replace("__NAME__", name) for path, text in texts.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, name the files that differ")
    checking = parser.parse_args().check
    differing = []
    for part in sorted(PARTS.glob("*.json")):
        for path, text in compose(part.stem).items():
            file = BUNDLES / path
            if file.is_file() and file.read_text(encoding="utf-8") == text:
                continue
            differing.append(path)
            if not checking:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
    for path in differing:
        print(f"{'differs' if checking else 'written'}: {path.as_posix()}")
    return 1 if checking and differing else 0


if __name__ == "__main__":
    sys.exit(main())
