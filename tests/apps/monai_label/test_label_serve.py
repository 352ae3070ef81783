# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What the start of MONAI Label's server is handed; the server itself is in test_monai_label.py."""

from __future__ import annotations

import argparse
import subprocess
import sys
import types

import pytest

from monai_cxrssl.apps.monai_label.serve import main

GIVEN = ["--app", "label_app", "--studies", "films", "--conf", "bundle", "a,b"]


@pytest.fixture
def started(monkeypatch) -> list[argparse.Namespace]:
    """Stands in for MONAI Label: its entry point, which reads ``sys.argv``, and the options that matter here."""
    runs = []

    class Main:
        def __init__(self, actions) -> None:
            assert actions == "start_server"

        def args_parser(self) -> argparse.ArgumentParser:
            parser = argparse.ArgumentParser("monailabel")
            server = parser.add_subparsers().add_parser("start_server")
            server.add_argument("-a", "--app")
            server.add_argument("-s", "--studies")
            server.add_argument("-c", "--conf", nargs=2, action="append")
            server.add_argument("-i", "--host", default="0.0.0.0")
            server.add_argument("-p", "--port", default=8000, type=int)
            return parser

        def run(self) -> None:
            runs.append(self.args_parser().parse_args())

    module = types.ModuleType("monailabel.main")
    module.Main = Main
    monkeypatch.setitem(sys.modules, "monailabel", types.ModuleType("monailabel"))
    monkeypatch.setitem(sys.modules, "monailabel.main", module)
    monkeypatch.setattr(sys, "argv", ["as before"])
    return runs


@pytest.mark.parametrize(
    ("more", "host", "port"),
    [
        ([], "127.0.0.1", 8000),
        (["--port", "8123"], "127.0.0.1", 8123),
        (["--host", "127.0.0.1"], "127.0.0.1", 8000),
        (["--host", "::1"], "::1", 8000),
        (["-i", "localhost"], "localhost", 8000),
    ],
)
def test_the_server_is_for_this_machine(started, capsys, more, host, port):
    assert main([*GIVEN, *more]) == 0
    [run] = started
    assert (run.host, run.port) == (host, port)
    assert (run.app, run.studies, run.conf) == ("label_app", "films", [["bundle", "a,b"]])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("more", "host"),
    [
        (["--host", "0.0.0.0"], "0.0.0.0"),
        (["--host=10.0.0.5"], "10.0.0.5"),
        (["--ho", "::"], "::"),
        (["-i192.168.0.1"], "192.168.0.1"),
        (["--host", "reader.example"], "reader.example"),
        (["--host", ""], ""),
    ],
)
def test_another_address_is_told_in_one_sentence(started, capsys, more, host):
    assert main([*GIVEN, "-p", "8001", *more]) == 0
    assert started[0].host == host
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"the server listens on {host}, not only on this machine" in told
    assert "no password" in told
    assert "port 8001" in told


def test_without_monai_label_one_sentence_says_what_to_do(repo):
    command = [sys.executable, "-m", "monai_cxrssl.apps.monai_label.serve", *GIVEN]
    result = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "error: MONAI Label is not installed for" in result.stderr
    assert "monai_cxrssl.apps.monai_label.install" in result.stderr
