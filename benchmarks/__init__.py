# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the collection on the test bench, beside the seed's way and the usual way.

Run it from the repository root: ``python3 -m benchmarks --help``.
"""
