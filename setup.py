# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What setup.cfg cannot say: the bundles go into the wheel, and the README's links lead from an index page."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

#: A bundle's own files; runs and weights of whoever builds stay at home.
BUNDLE_FILES = ("LICENSE", "*.json", "logging.conf", "configs/*.json", "configs/logging.conf", "docs/*", "weights/*")
RELATIVE_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)(?=[^)\s]+\))")
PICTURE = re.compile(r"(!\[[^\]]*\]\()(?![a-z]+:)")


class BuildWithBundles(build_py):
    """The package with ``bundles/`` inside; an editable install takes them from the repository."""

    def run(self) -> None:
        """Copy the package, then the bundles."""
        super().run()
        if self.editable_mode:
            return
        for file in bundle_files():
            target = Path(self.build_lib, "monai_cxrssl", file)
            self.mkpath(str(target.parent))
            self.copy_file(file, str(target))

    def get_source_files(self) -> list[str]:
        """List what an sdist must hold."""
        return [*super().get_source_files(), *bundle_files()]


def bundle_files() -> list[str]:
    """Return the paths of the bundles' own files."""
    found = (file for pattern in BUNDLE_FILES for file in Path("bundles").glob(f"*/{pattern}"))
    return sorted(file.as_posix() for file in found if file.is_file())


def index_page() -> str:
    """Return the README with links that lead to the repository from anywhere."""
    config = configparser.ConfigParser(interpolation=None)
    config.read("setup.cfg", encoding="utf-8")
    repository = config["metadata"]["url"]
    text = PICTURE.sub(rf"\1{repository}/raw/HEAD/", Path("README.md").read_text(encoding="utf-8"))
    return RELATIVE_LINK.sub(f"{repository}/blob/HEAD/", text)


setup(cmdclass={"build_py": BuildWithBundles}, long_description=index_page())
