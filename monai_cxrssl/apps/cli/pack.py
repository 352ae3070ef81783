# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Write a trained bundle as folder or zip, or check one."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``pack``."""
    parser.add_argument("bundle", nargs="?", help="folder of a trained bundle, such as bundles/multitask")
    parser.add_argument("--name", help="of the pack: data and task, such as chest_xray_multitask_segmentation; with "
                        "--zoo by default after the bundle")  # fmt: skip
    parser.add_argument("--out", metavar="DIR", help="folder that gets DIR/NAME, or the zip")
    parser.add_argument("--zip", action="store_true", help="write NAME_vVERSION.zip instead of a folder")
    parser.add_argument("--zoo", action="store_true", help="write DIR/models/NAME and DIR/ci/unit_tests/test_NAME.py, "
                        "a pull request to MONAI's model zoo; weights over 25 MB lie in DIR/upload/NAME")  # fmt: skip
    parser.add_argument(
        "--model_path",
        metavar="FILE",
        help="weights; default models/model.pt of the bundle, or those that came with it",
    )
    parser.add_argument("--report", metavar="DIR", help="report about these weights; default eval/report of the bundle")
    parser.add_argument("--version", help="such as 1.0.0; default the bundle's")
    parser.add_argument("--changes", metavar="TEXT", help="changelog of a new version")
    parser.add_argument("--facts", metavar="FILE", help="JSON of what only you know of this model, "
                        "for metadata and card: data_source, target_population, limitations …")  # fmt: skip
    parser.add_argument("--weights_url", metavar="URL", help="where the weights will lie, for large_files.yml")
    parser.add_argument("--patients", action="store_true",
                        help="take model.patients.json along, the hashes of the patients trained on")  # fmt: skip
    parser.add_argument("--predictions", action="store_true",
                        help="take the report's predictions.csv along, which holds patient ids")  # fmt: skip
    parser.add_argument("--films", action="store_true", help="keep the report's pictures of images")
    parser.add_argument("--deploy", action="store_true",
                        help="also write DIR/NAME_deploy, an app of MONAI Deploy that runs the pack")  # fmt: skip
    parser.add_argument("--check", metavar="PACK", help="verify a packed folder or zip in a fresh process instead; "
                        "this runs its configs as code, so only of makers you trust, or with --strict")  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="with --check: refuse files of code, and any component, "
                        "import or expression of the configs outside the allow-list of `run --strict`")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Pack and say where it is, or check and say what was found; exit status 1 when a check fails."""
    from monai_cxrssl.errors import ConfigurationError

    if args.check is not None:
        if args.bundle is not None or args.name is not None or args.out is not None:
            raise ConfigurationError("--check verifies what was packed before; give it alone.")
        return _check(args.check, args.strict)
    if args.strict:
        raise ConfigurationError("--strict goes with --check; a pack of your own is written as it is.")
    needed = ("bundle", "out") if args.zoo else ("bundle", "name", "out")
    absent = [name for name in needed if getattr(args, name) is None]
    if absent:
        raise ConfigurationError(
            f"Not given: {', '.join(absent)}; expected pack BUNDLE --name NAME --out DIR, or pack --check PACK."
        )
    from monai_cxrssl.apps.pack.package import pack_bundle
    from monai_cxrssl.handlers.model_files import write_as_trained
    from monai_cxrssl.networks.lungs.shipped import LUNG_WEIGHTS

    shipped, facts = Path(args.bundle) / LUNG_WEIGHTS, args.facts
    model_path = None if args.model_path is None else Path(args.model_path)
    if model_path is None and shipped.is_file() and not (Path(args.bundle) / "models" / "model.pt").is_file():
        model_path = shipped
        facts = facts or shipped.with_name("facts.json")
    with tempfile.TemporaryDirectory() as folder:
        if model_path is not None and model_path.suffix == ".safetensors":
            trained = Path(folder) / "model.pt"
            write_as_trained(model_path, trained)
            model_path = trained
        packed = pack_bundle(
            args.bundle,
            args.name,
            args.out,
            model_path=model_path,
            report=args.report,
            version=args.version,
            changes=args.changes,
            facts=facts,
            weights_url=args.weights_url,
            as_zip=args.zip,
            zoo=args.zoo,
            include_patients=args.patients,
            include_predictions=args.predictions,
            include_films=args.films,
        )
    for note in packed.notes:
        print(note)
    print(f"{'Written' if packed.written else 'Already there, with the same content'}: {packed.path}")
    if args.deploy:
        from monai_cxrssl.apps.pack.deploy_app import write_deploy_app

        print(
            f"App: {write_deploy_app(Path(args.out).expanduser() / f'{args.name}_deploy', args.name, packed.version)}"
        )
    return 0


def _check(path: str, strict: bool) -> int:
    from monai_cxrssl.apps.pack.check import check_bundle

    told = check_bundle(path, strict)
    for kind, mark in (("passed", "ok"), ("notes", "note"), ("problems", "WRONG")):
        for sentence in told[kind]:
            print(f"{mark}: {sentence}")
    print(f"{path}: {len(told['problems'])} problems." if told["problems"] else f"{path}: all checks passed.")
    return 1 if told["problems"] else 0
