# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A real server of MONAI Label on 127.0.0.1, and the few requests that tests make of it."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from pathlib import Path
from typing import Any


def listening(port: int) -> set[str]:
    """The IPv4 and IPv6 addresses that a port of this machine is listened to on, as Linux writes them."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, _, number = local.partition(":")
            if state == "0A" and int(number, 16) == port:
                found.add(address)
    return found


class LabelServer:
    def __init__(self, port: int, log: Path) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.log = log

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, kind: str = "") -> tuple[str, bytes]:
        """Content type and content of a reply; a refusal fails the test with the end of the server's log."""
        request = urllib.request.Request(self.address + path, data=body, method=method)
        if kind:
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return reply.headers["Content-Type"], reply.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code}\n{self.log.read_text()[-3000:]}") from error

    def json(self, path: str, method: str = "GET", content: Any = None) -> Any:
        body = None if content is None else json.dumps(content).encode()
        return json.loads(self.ask(path, method, body, "application/json" if body else "")[1])

    def send(self, path: str, method: str = "POST", **parts: str | Path) -> tuple[str, bytes]:
        """Send a form: texts, and files by their path."""
        boundary, lines = uuid.uuid4().hex, []
        for name, value in parts.items():
            file = f'; filename="{value.name}"' if isinstance(value, Path) else ""
            data = value.read_bytes() if isinstance(value, Path) else value.encode()
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
            lines.append(head.encode() + data + b"\r\n")
        body = b"".join(lines) + f"--{boundary}--\r\n".encode()
        return self.ask(path, method, body, f"multipart/form-data; boundary={boundary}")

    def infer(self, model: str, image: Path | str, **params: Any) -> tuple[dict[str, Any], bytes | None]:
        """The table and the file of ``output=all``, of an uploaded file or of an image in the studies folder."""
        where = f"/infer/{model}?output=all" + ("" if isinstance(image, Path) else f"&image={image}")
        files = {"file": image} if isinstance(image, Path) else {}
        kind, body = self.send(where, params=json.dumps(params), **files)
        if kind.startswith("application/json"):
            return json.loads(body), None
        message = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        parts = {part.get_param("name", header="content-disposition"): part for part in message.get_payload()}
        return json.loads(parts["params"].get_payload(decode=True)), parts["image"].get_payload(decode=True)


@contextmanager
def label_server(
    python: Path, app: Path, studies: Path, port: int, log: Path, conf: dict[str, str], environment: dict[str, str]
) -> Iterator[LabelServer]:
    """Start a server, wait until it answers, and end it by its process id."""
    command = [
        str(python), "-m", "monai_cxrssl.apps.monai_label.serve", "--app", str(app), "--studies", str(studies),
        "--port", str(port),
    ]  # fmt: skip
    for name, value in conf.items():
        command += ["--conf", name, value]
    with open(log, "w") as output:
        # A folder of its own: the server changes nothing in the checkout.
        process = subprocess.Popen(
            command, cwd=log.parent, env={**os.environ, **environment}, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            server = LabelServer(port, log)
            for _ in range(240):
                assert process.poll() is None, f"the server ended:\n{log.read_text()[-3000:]}"
                try:
                    server.json("/info/")
                    break
                except (urllib.error.URLError, ConnectionError):
                    time.sleep(0.5)
            else:
                raise AssertionError(f"the server does not answer:\n{log.read_text()[-3000:]}")
            yield server
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)
