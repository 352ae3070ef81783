# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The demands of MONAI's schema of ``metadata.json``, restated so that a bundle can be checked without a network.

The schema itself lies at the address that each ``metadata.json`` names; ``monai.bundle.verify_metadata`` downloads it.
"""

from __future__ import annotations

from typing import Any

__all__ = ["META_SCHEMA"]

META_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "The demands of MONAI's bundle metadata schema 20240725, restated for tests without a network",
    "type": "object",
    "required": [
        "schema",
        "version",
        "monai_version",
        "pytorch_version",
        "numpy_version",
        "required_packages_version",
        "task",
        "description",
        "authors",
        "copyright",
        "network_data_format",
    ],
    "properties": {
        "schema": {"type": "string", "pattern": "meta_schema_20240725\\.json$"},
        "version": {"$ref": "#/$defs/version"},
        "changelog": {"type": "object", "additionalProperties": {"type": "string"}},
        "monai_version": {"$ref": "#/$defs/version"},
        "pytorch_version": {"$ref": "#/$defs/version"},
        "numpy_version": {"$ref": "#/$defs/version"},
        "required_packages_version": {"type": "object", "additionalProperties": {"$ref": "#/$defs/version"}},
        "supported_apps": {"type": "object"},
        "name": {"type": "string"},
        "task": {"type": "string", "minLength": 1},
        "description": {"type": "string", "minLength": 1},
        "authors": {"type": "string", "minLength": 1},
        "copyright": {"type": "string", "minLength": 1},
        "references": {"type": "array", "items": {"type": "string"}},
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "properties": {"inputs": {"$ref": "#/$defs/tensors"}, "outputs": {"$ref": "#/$defs/tensors"}},
        },
    },
    "$defs": {
        "version": {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)+"},
        "tensors": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "type": "object",
                "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
                "properties": {
                    "type": {"type": "string"},
                    "format": {"type": "string"},
                    "modality": {"type": "string"},
                    "num_channels": {"type": "integer", "minimum": 0},
                    "spatial_shape": {"type": "array", "items": {"type": ["integer", "string"]}},
                    "dtype": {"type": "string"},
                    "value_range": {"type": "array", "items": {"type": ["number", "string"]}},
                    "is_patch_data": {"type": "boolean"},
                    "channel_def": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            },
        },
    },
}
