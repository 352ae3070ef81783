# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Write the readiness report of predictions; compare several models."""

from __future__ import annotations

import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``report``."""
    parser.add_argument("--predictions", nargs="+", required=True, metavar="FILE",
                        help="predictions.csv or folder of an evaluation; several: models, same cases")  # fmt: skip
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the report")
    parser.add_argument(
        "--validation", metavar="FILE", help="predictions on validation images, if the first holds none"
    )
    parser.add_argument("--external", nargs="+", default=[], metavar="FILE",
                        help="predictions of the first model on other sets, named after their files")  # fmt: skip
    parser.add_argument("--names", nargs="+", metavar="NAME", help="of the models, one each")
    parser.add_argument("--criteria", metavar="FILE", help="JSON file that changes the criteria of the verdict")
    parser.add_argument("--weights", metavar="model.pt", help="that made the predictions, for provenance and leaks")
    parser.add_argument("--bundle", metavar="DIR", help="its metadata fills the model card")
    parser.add_argument("--datalist", metavar="FILE", help="that the run was split by, for provenance and leaks")
    parser.add_argument("--resamples", type=int, default=1000, metavar="N", help="of the patients; default 1000")
    parser.add_argument("--seed", type=int, default=0, help="of the resamples")


def run(args: argparse.Namespace) -> int:
    """Write the report, and print its verdict and where it is."""
    import json
    from pathlib import Path

    from monai_cxrssl.errors import ConfigurationError
    from monai_cxrssl.report.write import write_report

    if args.resamples < 1:
        raise ConfigurationError(f"--resamples is {args.resamples}; expected 1 or more.")
    page = write_report(
        args.predictions,
        args.out,
        names=args.names,
        validation=args.validation,
        external=args.external,
        criteria=args.criteria,
        weights=args.weights,
        bundle=args.bundle,
        datalist=args.datalist,
        resamples=args.resamples,
        seed=args.seed,
    )
    print(json.loads(Path(page).with_name("metrics.json").read_text(encoding="utf-8"))["verdict"])
    print(f"Written: {page}")
    return 0
