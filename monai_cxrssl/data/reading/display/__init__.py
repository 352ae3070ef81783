# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What a header says of showing a film, and checks of the result."""
