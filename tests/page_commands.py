# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Read the commands of a page as a shell would, and run them with settings that keep them small."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monai_cxrssl.apps.cli.main import main
from tests.warm_python import WarmPython

__all__ = ["OURS", "RUN", "SMALL_SET", "TINY", "Small", "as_run", "bash_blocks", "commands_of", "environment", "run"]

TINY = "--recipe short --max_epochs 1 --num_workers 0"
SMALL_SET = "--recipe short --image_size 64 --batch_size 8 --num_workers 0"
RUN = "python -m monai.bundle run --config_file bundles"
OURS = "python -m monai_cxrssl"

#: A word of a shell: anything but blanks, and quoted blanks.
WORD = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+""")


@dataclass(frozen=True)
class Small:
    """How a command is run: words put in place of others, options appended, what it must have written."""

    add: str = ""
    put: dict[str, str] = field(default_factory=dict)
    makes: tuple[str, ...] = ()
    before: Callable[[Path], object] | None = None


def bash_blocks(text: str) -> list[str]:
    """Return the bash blocks of a page, continued lines joined."""
    blocks = re.findall(r"^```bash\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    return [block.replace("\\\n", " ") for block in blocks]


def words_of(line: str) -> list[str]:
    """Return the words of a line without its comment, which begins with a ``#`` at the head of a word only."""
    words: list[str] = []
    for found in WORD.finditer(line):
        if found[0].startswith("#"):
            break
        words += shlex.split(found[0])
    return words


def commands_of(text: str) -> list[str]:
    """Return the commands of a page's bash blocks, without comments, each in one line."""
    found = []
    for block in bash_blocks(text):
        for line in block.splitlines():
            words = words_of(line)
            while words:
                end = words.index("&&") if "&&" in words else len(words)
                found.append(shlex.join(words[:end]))
                words = words[end + 1 :]
    return found


def as_run(command: str, how: Small) -> list[str]:
    """Return the words of a command as it is run in a test."""
    return [*(how.put.get(word, word) for word in shlex.split(command)), *shlex.split(how.add)]


def environment() -> dict[str, str]:
    """Return the environment of a command that a test starts: no warnings of others, no progress bars, no windows."""
    return {**os.environ, "PYTHONWARNINGS": "ignore", "TQDM_DISABLE": "1", "MPLBACKEND": "Agg"}


def run(words: Sequence[str], warm: WarmPython) -> tuple[int, str]:
    """Return exit status and output of a command, run in the current folder."""
    if list(words[:3]) == ["python", "-m", "monai_cxrssl"] and words[3] not in ("train", "evaluate", "predict"):
        # In this process, which has loaded torch and this package already.
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            return main(list(words[3:])), told.getvalue()
    if words[0] == "python":
        result = warm.run(words[1:], Path.cwd(), **environment())
    elif words[0] == "torchrun":
        # Two processes do not share a GPU.
        result = warm.run(
            ["-m", "torch.distributed.run", *words[1:]], Path.cwd(), **environment() | {"CUDA_VISIBLE_DEVICES": ""}
        )
    else:
        result = subprocess.run(words, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout[-1500:] + result.stderr[-3000:]
