# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from monai_cxrssl.apps.clear_errors import clear_sentence
from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.apps.strict.config import StrictConfigParser, run_strict
from monai_cxrssl.errors import ConfigurationError

BUNDLES = Path(__file__).parents[3] / "bundles"
OWN = sorted(
    path
    for name in ("train", "evaluate", "inference", "multi_gpu_train")
    for path in BUNDLES.glob(f"*/configs/{name}.json")
)
TOUCH = "touch was_here"
EXPRESSIONS = {
    "import call": f"$__import__('os').system('{TOUCH}')",
    "classes": "$().__class__.__mro__[1].__subclasses__()",
    "eval": "$eval('1')",
    "exec": "$exec('1')",
    "open": "$open('was_here', 'w')",
    "getattr": "$getattr(os, 'sys' + 'tem')('x')",
    "vars": "$vars(os)['system']('x')",
    "type": "$type('X', (), {})",
    "builtins by name": f"$__builtins__['eval']('__import__(\"os\").system(\"{TOUCH}\")')",
    "lambda": "$(lambda: 1)()",
    "walrus": "$[y := os.path, y.join('a')]",
    "comprehension over module": f"$[m.system('{TOUCH}') for m in [os]]",
    "comprehension shadowing": "$[os for os in [1]]",
    "generator frame": "$(x for x in [1]).gi_frame.f_back.f_globals",
    "format attribute": "$'{0.__class__}'.format(os)",
    "format_map": "$'{a.b}'.format_map({'a': 1})",
    "str format": "$str.format('{0.__class__}', 1)",
    "f-string": "$f'{os.system(\"" + TOUCH + "\")}'",
    "os.system": f"$os.system('{TOUCH}')",
    "os.popen": f"$os.popen('{TOUCH}')",
    "os.remove": "$os.remove('x')",
    "os.execv": "$os.execv('/bin/sh', [])",
    "environ update": "$os.environ.update(PATH='x')",
    "module of os.path": f"$os.path.os.system('{TOUCH}')",
    "module in MONAI": f"$monai.utils.module.os.system('{TOUCH}')",
    "module in torch": f"$torch.os.system('{TOUCH}')",
    "builtins in torch": "$torch.serialization.pickle.loads(b'x')",
    "module in this package": f"$monai_cxrssl.apps.pack.check.subprocess.run('{TOUCH}', shell=True)",
    "own private module": "$monai_cxrssl.data.reading.reader.os.remove('x')",
    "module handed on": "$os.path",
    "module in a list": "$[os][0].system('x')",
    "torch.load": "$torch.load('x.pt', weights_only=False)",
    "torch.hub": "$torch.hub.load('a/b', 'c')",
    "torch.jit": "$torch.jit.load('x')",
    "torch.ops": "$torch.ops.load_library('x.so')",
    "torch.classes": "$torch.classes.load_library('x.so')",
    "benchmark timer": "$torch.utils.benchmark.Timer('import os').timeit(1)",
    "numpy.load": "$np.load('x.npy', allow_pickle=True)",
    "numpy tofile": "$np.zeros(1).tofile('was_here')",
    "numpy ctypes": "$numpy.ctypeslib.load_library('x', '.')",
    "optional_import": "$monai.utils.optional_import('os')[0].system('x')",
    "monai.bundle": "$monai.bundle.run(config_file='x.json')",
    "download": "$monai.apps.download_url('http://x', 'y')",
    "extractall": "$monai.apps.extractall('x.zip')",
    "class method": "$monai.data.Dataset.__init__.__globals__",
    "instantiate": "$monai.utils.module.instantiate('os.system', 'default')",
    "imports by reference": f"$@imports#0.system('{TOUCH}')",
    "all imports": f"$@imports[0].system('{TOUCH}')",
    "root reference": "$@['imports'][0].system('x')",
    "reference that ends a text": f"$'@a.format(1) + os.system(\"{TOUCH}\") + ' ",
    "another import": f"$import os; os.system('{TOUCH}')",
    "import elsewhere": "$import math",
    "await": "$await os",
    "no Python": "$)(",
    "starred globals": "$print(*globals())",
}
TARGETS = {
    "os.system": {"_target_": "os.system", "command": TOUCH},
    "posix": {"_target_": "posix.system", "command": TOUCH},
    "subprocess": {"_target_": "subprocess.run", "args": TOUCH},
    "eval": {"_target_": "builtins.eval"},
    "bare eval": {"_target_": "eval"},
    "pickle": {"_target_": "pickle.loads"},
    "functools": {"_target_": "functools.partial"},
    "chain": {"_target_": "monai.utils.module.os.system", "command": TOUCH},
    "chain through this package": {"_target_": "monai_cxrssl.data.reading.reader.os.system", "command": TOUCH},
    "optional_import": {"_target_": "monai.utils.optional_import", "module": "os"},
    "instantiate": {"_target_": "monai.utils.module.instantiate"},
    "monai.bundle": {"_target_": "monai.bundle.run", "config_file": "x.json"},
    "bare run": {"_target_": "ConfigParser"},
    "download": {"_target_": "monai.apps.download_and_extract", "url": "http://x"},
    "reader by name": {"_target_": "LoadImaged", "keys": "image", "reader": "subprocess.getoutput"},
    "writer by name": {"_target_": "monai.transforms.SaveImage", "writer": "os.system"},
    "hub code": {"_target_": "monai.losses.PerceptualLoss", "spatial_dims": 2},
    "torch.load": {"_target_": "torch.load", "f": "x.pt", "weights_only": False},
    "cpp_extension": {"_target_": "torch.utils.cpp_extension.load", "name": "x"},
    "optimizer registry": {"_target_": "timm.optim._optim_factory.OptimInfo", "name": "x", "opt_class": "os.system"},
    "command line": {"_target_": "monai_cxrssl.apps.cli.main.main"},
    "main module": {"_target_": "monai_cxrssl.__main__.main"},
    "callable mode": {"_target_": "os.system", "_mode_": "callable"},
    "disabled": {"_target_": "os.system", "_disabled_": "$False"},
    "debugger": {"_target_": "torch.device", "type": "cpu", "_mode_": "debug"},
    "debug key": {"_target_": "torch.device", "type": "cpu", "_debug_": True},
    "computed": {"_target_": "$'os' + '.system'", "command": TOUCH},
    "referred": {"_target_": "@a", "command": TOUCH},
    "dunder": {"_target_": "monai.data.Dataset.__init__"},
    "class method": {"_target_": "segmentation_models_pytorch.Unet.from_pretrained"},
    "module": {"_target_": "monai.data"},
}


def config_of(**items):
    return {"imports": ["$import os", "$import monai_cxrssl"], "a": "b", **items}


def refused(config, place):
    with pytest.raises(ConfigurationError) as error:
        StrictConfigParser(config).parse()
    sentence = str(error.value)
    assert sentence.startswith(place)
    assert "strict option refuses it." in sentence
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("path", OWN, ids=lambda path: f"{path.parts[-3]}/{path.stem}")
def test_own_configs_pass_as_they_are(path):
    parser = StrictConfigParser()
    parser.read_config([path.with_name("train.json"), path] if path.stem == "multi_gpu_train" else path)
    parser.read_meta(path.with_name("metadata.json"))
    parser.parse()


def test_all_ten_bundles_are_tried():
    assert len({path.parts[-3] for path in OWN}) == 10


@pytest.mark.parametrize("attack", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_expressions_are_refused_before_anything_runs(attack, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sentence = refused(config_of(run=[attack]), "run::0")
    # MONAI writes the old separator of ids, #, as ::.
    assert repr(attack.replace("#", "::")) in sentence
    # The same deep inside a component, in the metadata, and where it is only a description.
    refused(config_of(run=[{"_target_": "torch.device", "_desc_": {"x": [attack]}}]), "run::0::_desc_::x::0")
    refused(config_of(_meta_={"version": attack}), "_meta_::version")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("attack", TARGETS.values(), ids=TARGETS)
def test_targets_are_refused_before_anything_runs(attack, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(config_of(run=[attack]), "run::0")
    refused(config_of(deep={"list": [{"x": attack}]}), "deep::list::0::x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "statement",
    [
        "$import subprocess", "$import sys", "$import importlib", "$import builtins", "$from os import system",
        "$import monai.utils.module", "$from monai.utils.module import os", "$import os as len", "$import scripts.evil",
        "$from . import x", "$import torch.hub", "$import monai.bundle", "$from torch import *", "$import os, sys",
        "$import os\nimport sys", "$from monai_cxrssl.data.reading.reader import os as p",
    ],
)  # fmt: skip
def test_imports_are_refused(statement):
    refused({"imports": [statement]}, "imports::0")


@pytest.mark.parametrize("name", ["json", "yaml"])
def test_macros_to_other_files_are_refused(name, tmp_path):
    (tmp_path / f"other.{name}").write_text(json.dumps({"x": f"$__import__('os').system('{TOUCH}')"}))
    refused(config_of(run=f"%{tmp_path}/other.{name}#x"), "run")


def test_macros_are_resolved_before_the_check():
    refused(config_of(hidden={"y": "$eval('1')"}, run=["%hidden#y"]), "hidden::y")
    refused(config_of(run=["%#1", "$eval('1')"]), "run::")
    refused(config_of(x="%y", y="%z", z=1), "x")
    parser = StrictConfigParser(config_of(x="%y", y="$1 + 1"))
    assert parser.get_parsed_content("x") == 2


@pytest.mark.parametrize(
    ("items", "result"),
    [
        ({"x": "$os.path.join('a', @a)"}, "a/b"),
        ({"x": "$[i * 2 for i in range(3) if i != 1]"}, [0, 4]),
        ({"x": "$os.environ.get('NO_SUCH_NAME', '7')"}, "7"),
        ({"x": "$max(1, 5 // 2) if @a == 'b' else None"}, 2),
        ({"x": "$@y['k'].upper()", "y": {"k": "v"}}, "V"),
        ({"x": "$str(torch.float32)"}, "torch.float32"),
        ({"x": "$np.asarray([1, 2]).sum()"}, 3),
        ({"x": {"_target_": "monai.utils.first", "iterable": ["@a"]}}, "b"),
        ({"x": '$f"{@a}-{3:02d}"'}, "b-03"),
    ],
)
def test_what_is_allowed_gives_what_monai_gives(items, result):
    assert StrictConfigParser(config_of(**items)).get_parsed_content("x") == result
    assert ConfigParser(config_of(**items)).get_parsed_content("x") == result


@pytest.mark.parametrize(
    ("held", "expression", "told"),
    [
        ("$monai_cxrssl.data.open_dataset", "$@held.anything", "a function"),
        ("$monai_cxrssl.data.CXRReader", "$@held.read", "the class monai_cxrssl.data.reading.reader.CXRReader"),
        ("$os.environ", "$[@held][0].pop('PATH')", "os.environ.pop"),
        ("$np.zeros(1)", "$@held.tolist.x", "the attribute x"),
        ("$'{0.denominator}'", "$[x.strip for x in [@held]][0].real", "the attribute real"),
    ],
)
def test_what_a_reference_holds_is_judged_when_it_is_evaluated(held, expression, told):
    parser = StrictConfigParser(config_of(held=held, x=expression))
    with pytest.raises(ConfigurationError) as error:
        parser.get_parsed_content("x")
    assert told in str(error.value)
    assert str(error.value).startswith(f"x is {expression!r}: ")
    assert StrictConfigParser(config_of(held="$max", x="$[@held][0](1, 2)")).get_parsed_content("x") == 2


def test_a_function_that_fails_keeps_its_own_words(tmp_path):
    config = config_of(x=f"$monai_cxrssl.data.open_dataset('{tmp_path}/none')")
    with pytest.raises(Exception) as error:
        StrictConfigParser(config).get_parsed_content("x")
    assert "strict" not in str(clear_sentence(error.value))
    assert "none" in str(clear_sentence(error.value))


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    (tmp_path / "bundle" / "configs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bundle" / "configs" / "x.json"
    path.write_text(json.dumps({"imports": ["$import os"], "a": 1, "b": {"c": 2}, "run": ["$print('sum', @a + @b#c)"]}))
    path.with_name("metadata.json").write_text(json.dumps({"version": "0.1.0"}))
    return path


def test_command_runs_with_overrides(bundle, capsys):
    path = bundle
    content = json.loads(path.read_text())
    content["run"] = ["$len(range(@a)) / len(range(@b#c))"]
    path.write_text(json.dumps(content))
    words = ["run", "--strict", "--config_file", str(path)]
    assert main([*words, "--a", "3", "--b#c=4"]) == 0
    # Its division fails, so that the overrides must have arrived.
    with pytest.raises(RuntimeError):
        main([*words, "--b#c", "0"])
    assert main([*words, "--a", "$__import__('os').system('touch was_here')"]) == 2
    assert "a is \"$__import__('os')" in capsys.readouterr().err
    assert main([*words, "--a", "%other.json#x"]) == 2
    assert main([*words, "--run_id", "b", "--b", "{'_target_': 'os.system', 'command': 'touch was_here'}"]) == 2
    assert main([*words, "--tracking", "mlflow"]) == 2
    assert main([*words, "--args_file", "x.json"]) == 2
    assert main([*words, "stray"]) == 2
    assert not Path("was_here").exists()


def test_command_without_strict_is_monais_run(bundle, capsys):
    assert main(["run", "--config_file", str(bundle), "--a", "5"]) == 0
    assert "sum 7" in capsys.readouterr().out


def test_other_commands_still_refuse_unknown_options():
    with pytest.raises(SystemExit) as stopped:
        main(["phantom", "x", "--no_such_option", "1"])
    assert stopped.value.code == 2


def test_files_of_the_bundle_are_not_imported(bundle, monkeypatch):
    root = bundle.parents[1]
    (root / "nrrd.py").write_text("import pathlib; pathlib.Path('was_here').touch()")
    monkeypatch.syspath_prepend(str(root))
    content = {"imports": ["$import os"], "run": ["$[p for p in @seen]"], "seen": "$list('a')"}
    bundle.write_text(json.dumps(content))
    before = list(sys.path)
    run_strict(str(bundle))
    assert sys.path == before
    bundle.write_text(json.dumps({"imports": ["$import nrrd"], "run": []}))
    with pytest.raises(ConfigurationError, match="nrrd"):
        run_strict(str(bundle))
    assert not Path("was_here").exists()
