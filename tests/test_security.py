# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What no file of the package, its bundles and its scripts may do: found in the syntax tree, so that it stays so."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path for room in ("monai_cxrssl", "bundles", "benchmarks", "docs") for path in (ROOT / room).rglob("*.py")
)
# The guarded evaluation of checked expressions.
EVALUATES = {("monai_cxrssl/apps/strict/expression.py", name) for name in ("eval", "compile")}
# After it looked at all members.
UNPACKS = {("monai_cxrssl/apps/pack/archive.py", "extractall")}
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "breakpoint"),
    *("os.system", "os.popen", "os.execv", "os.spawnl", "os.startfile", "subprocess.getoutput"),
    *("subprocess.getstatusoutput", "commands.getoutput", "pty.spawn"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.loads", "shelve.open", "joblib.load", "dill.load"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load"),
    *("torch.jit.load", "torch.export.load", "torch.hub.load", "torch.package.PackageImporter", "pd.read_pickle"),
    *("tarfile.TarFile.extractall", "shutil.unpack_archive", "tempfile.mktemp"),
}


def calls(source: str):
    """Yield (dotted name, keywords) of every call."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            keywords = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
            yield ast.unparse(node.func), keywords, node.lineno


def problems(source: str, name: str) -> list[str]:
    found = []
    for called, keywords, line in calls(source):
        place = f"{name}:{line} {called}"
        if called in FORBIDDEN and (name, called) not in EVALUATES:
            found.append(place)
        if called.endswith(("torch.load", "load_state_dict_from_url")) and keywords.get("weights_only") is not True:
            found.append(f"{place} without weights_only=True")
        if "shell" in keywords and keywords["shell"] is not False:
            found.append(f"{place} with a shell")
        if "allow_pickle" in keywords and keywords["allow_pickle"] is not False:
            found.append(f"{place} with pickle")
        if called.split(".")[-1] in ("extractall", "unpack_archive") and (name, called) not in UNPACKS:
            found.append(f"{place}: extract_archive looks at the names first")
        if called.endswith(("dist_cp.load", "checkpoint.load", "FileSystemReader")):
            found.append(f"{place}: the metadata of a sharded checkpoint is pickled")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_runs_what_another_file_says(path):
    assert problems(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()) == []


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(p)", "torch.load(p, weights_only=False)", "torch.load(p, weights_only=flag)",
        "subprocess.run(c, shell=True)", "os.system(c)", "np.load(p, allow_pickle=True)", "zip.extractall(d)", "extractall(p, d)",
        "eval(x)", "pickle.loads(x)", "torch.hub.load_state_dict_from_url(u)",
    ],
)  # fmt: skip
def test_the_test_finds(source):
    assert problems(source, "x.py")


def test_there_are_files():
    assert len(FILES) > 200
