# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""From files on disk to decoded images: reading, datalists, layouts, patient bags and pretext data sets.

What the room offers stands in ``__init__.pyi`` and is imported when it is first asked for: commands that read headers
and write lists then start without torch and MONAI, which take seconds to import.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
