# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""MONAI Label server on the loopback address: ``python -m monai_cxrssl.apps.monai_label.serve``.

``monailabel start_server`` listens on all network interfaces unless told otherwise. This is the same server with the
same options, on 127.0.0.1 unless ``--host`` names another address. It runs in the environment of ``install.py``.
"""

from __future__ import annotations

import importlib
import ipaddress
import sys
from collections.abc import Sequence

from monai_cxrssl.errors import ConfigurationError

__all__ = ["LOCAL", "main", "serve"]

LOCAL = "127.0.0.1"


def serve(arguments: Sequence[str]) -> None:
    """Run the server, with options of ``monailabel start_server``, until it is stopped.

    Raises:
        ConfigurationError: MONAI Label is not installed in this environment.
    """
    try:
        label = importlib.import_module("monailabel.main")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "monailabel":
            raise
        raise ConfigurationError(
            f"MONAI Label is not installed for {sys.executable}; run `python -m "
            "monai_cxrssl.apps.monai_label.install DIR`, and this command with the interpreter that it names."
        ) from error
    # Ours comes first: of an option given twice the last one holds, however it is abbreviated.
    words = ["start_server", "--host", LOCAL, *arguments]
    server = label.Main(actions="start_server")
    chosen = server.args_parser().parse_args(words)
    if not _is_local(chosen.host):
        print(
            f"warning: the server listens on {chosen.host}, not only on this machine: MONAI Label asks for no password "
            f"unless MONAI_LABEL_AUTH_ENABLE is set up, so whoever reaches port {chosen.port} can read the images, "
            "overwrite labels and replace weights by training.",
            file=sys.stderr,
            flush=True,
        )
    sys.argv = ["monailabel", *words]
    server.run()


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; exit status 2 when there is none to run."""
    try:
        serve(sys.argv[1:] if arguments is None else arguments)
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
