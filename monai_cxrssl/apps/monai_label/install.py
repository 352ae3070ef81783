# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Make an environment for MONAI Label's server: ``python -m monai_cxrssl.apps.monai_label.install [FOLDER]``.

MONAI Label 0.8.5 asks for packages that would change this environment (numpy 1 through a package for 3-D scribbles, SAM
2, pydicom 2 through ``pydicom-seg``). So it gets one of its own that sees the packages of the calling one and holds
only what is added: MONAI Label without its declared needs, and the ones that a server imports, in versions that leave
every package of the calling environment as it is.

``pydicom-seg`` 0.4.1 imports ``SegmentationStorage`` from a module that pydicom 3 no longer has (MONAILabel issue
1841); the two lines of the installed copy are pointed to ``pydicom.uid``, which has always had the name.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.files import lock

__all__ = ["cache_folder", "environment_python", "install_environment"]

LABEL = ("monailabel==0.8.5", "pydicom-seg==0.4.1")
#: What the server imports beyond what this package needs. Left out: sam2, girder's slides, numpymaxflow (numpy 1).
NEEDS = (
    "fastapi", "uvicorn", "pydantic-settings", "python-dotenv", "python-multipart", "httpx", "schedule", "timeloop",
    "expiring-dict", "cachetools", "watchdog", "dicomweb-client", "pynetdicom", "pynrrd", "girder-client", "passlib",
    "pyjwt", "bcrypt", "shapely", "requests", "requests-toolbelt", "google-auth", "psutil", "SimpleITK", "jsonschema",
    "setuptools",  # gives distutils back, which Python 3.12 no longer has
)  # fmt: skip
STAMP = "complete.json"
OLD_MODULE, NEW_MODULE = "pydicom._storage_sopclass_uids", "pydicom.uid"


def cache_folder() -> Path:
    """The user's cache folder of this package; ``CXRSSL_CACHE`` names another."""
    if os.environ.get("CXRSSL_CACHE"):
        return Path(os.environ["CXRSSL_CACHE"]).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "monai_cxrssl"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "monai_cxrssl"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "monai_cxrssl"


def environment_python(folder: Path) -> Path:
    """The interpreter of an environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def install_environment(folder: str | os.PathLike | None = None) -> Path:
    """Make the environment, or take the one that is there already, and return its interpreter.

    It is made anew when another Python, another version of a package in the calling environment or another list of
    needs calls for it; otherwise only the path of the calling environment is written down again.

    Args:
        folder: of the environment; by default one below :func:`cache_folder` for each calling environment.

    Raises:
        ConfigurationError: the folder holds something else, or a package cannot be installed.
    """
    own = hashlib.sha256(sys.prefix.encode()).hexdigest()[:8]
    place = Path(folder).expanduser().absolute() if folder else cache_folder() / f"monai_label-{own}"
    place.parent.mkdir(parents=True, exist_ok=True)
    versions = _calling_versions()
    wanted = {"python": sys.version, "label": [*LABEL], "needs": [*NEEDS], "calling": versions}
    with lock(Path(f"{place}.lock"), f"{place}: waiting for another process that makes this environment", seconds=None):
        if _stamp(place) != wanted:
            if place.is_dir() and any(place.iterdir()) and not (place / "pyvenv.cfg").is_file():
                raise ConfigurationError(f"{place} holds something else than an environment; give a folder of its own.")
            shutil.rmtree(place, ignore_errors=True)
            _make(place, versions)
            (place / STAMP).write_text(json.dumps(wanted, indent=1), encoding="utf-8")
        else:
            _see_calling_environment(place)
    return environment_python(place)


def _calling_versions() -> dict[str, str]:
    """Every package of the calling environment, which the new one must see unchanged."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        if name and name not in ("monai-cxrssl", "pip", "setuptools", "wheel"):
            found.setdefault(name, distribution.version)
    return dict(sorted(found.items()))


def _stamp(place: Path) -> object:
    try:
        return json.loads((place / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _make(place: Path, versions: dict[str, str]) -> None:
    print(f"Making an environment for MONAI Label in {place} (a minute) ...", flush=True)
    venv.create(place, with_pip=True, symlinks=sys.platform != "win32")
    _see_calling_environment(place)
    constraints = place / "calling_environment.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()), encoding="utf-8")
    _pip(place, ["--constraint", str(constraints), *NEEDS])
    _pip(place, ["--no-deps", *LABEL])
    _let_pydicom_seg_take_pydicom_3(_site_packages(place))
    check = "import monailabel.interfaces.app, monailabel.datastore.utils.convert, monai_cxrssl.data"
    _run([str(environment_python(place)), "-c", check], "MONAI Label cannot be imported there")


def _see_calling_environment(place: Path) -> None:
    package = Path(__file__).resolve().parents[3]
    sites = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    # addsitedir, unlike a plain path, also follows the .pth files there, as of packages installed with -e.
    lines = [f"import site; site.addsitedir({path!r})" for path in [*sites, str(package)]]
    (_site_packages(place) / "calling_environment.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _site_packages(place: Path) -> Path:
    if sys.platform == "win32":
        return place / "Lib" / "site-packages"
    return place / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def _let_pydicom_seg_take_pydicom_3(site_packages: Path) -> None:
    texts = {file: file.read_text(encoding="utf-8") for file in (site_packages / "pydicom_seg").glob("*.py")}
    for file, text in texts.items():
        if OLD_MODULE in text:
            file.write_text(text.replace(OLD_MODULE, NEW_MODULE), encoding="utf-8")
    if not any(OLD_MODULE in text for text in texts.values()):
        raise ConfigurationError(f"No file of pydicom-seg in {site_packages} imports {OLD_MODULE}; expected two.")


def _pip(place: Path, arguments: Sequence[str]) -> None:
    command = [str(environment_python(place)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*command, *arguments], "A package could not be installed; the network may be off")


def _run(command: list[str], problem: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ConfigurationError(f"{problem}: {' '.join((result.stderr or result.stdout).split())[-600:]}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the environment and print how a server is started."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", nargs="?", help="of the environment; by default below the user's cache folder")
    try:
        python = install_environment(parser.parse_args(arguments).folder)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{python} -m monai_cxrssl.apps.monai_label.serve --help")
    return 0


if __name__ == "__main__":
    sys.exit(main())
