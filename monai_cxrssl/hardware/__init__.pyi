# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from .device import require_device
from .distributed import data_parallel, join_processes, leave_processes
from .precision import autocast_dtype

__all__ = ["autocast_dtype", "data_parallel", "join_processes", "leave_processes", "require_device"]
