# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashes the files that the image is made from, or packs them: ``context.py [--pack FILE] ROOT PATH…``.

The hash depends on names, contents and the executable bit, as the image does; not on times, owners or the place of the checkout.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tarfile
from pathlib import Path

# Left by programs that ran in the checkout; .dockerignore keeps them out of the build as well.
LITTER = ("__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache")


def files(root: Path, paths: list[str]) -> list[Path]:
    """Return every file under `paths`, sorted; a path that is missing simply has none."""
    found: list[Path] = []
    for name in paths:
        path = root / name
        if path.is_file():
            found.append(path)
        for folder, folders, names in os.walk(path):
            folders[:] = [one for one in folders if one not in LITTER]
            found += [Path(folder, one) for one in names if not one.endswith(".pyc")]
    return sorted(set(found))


def hashed(root: Path, chosen: list[Path]) -> str:
    """Return one SHA-256 over all of them."""
    digest = hashlib.sha256()
    for path in chosen:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        executable = "x" if os.access(path, os.X_OK) else "-"
        digest.update(f"{path.relative_to(root)}\0{executable}\0{content}\n".encode())
    return digest.hexdigest()


def pack(root: Path, chosen: list[Path], target: str) -> None:
    """Write them into an uncompressed tar archive, complete or not at all."""
    partial = f"{target}.{os.getpid()}"
    with tarfile.open(partial, "w") as archive:
        for path in chosen:
            archive.add(path, arcname=str(path.relative_to(root)))
    Path(partial).replace(target)


def main(arguments: list[str]) -> int:
    """Print the hash."""
    target = ""
    if arguments[0] == "--pack":
        target, arguments = arguments[1], arguments[2:]
    root = Path(arguments[0]).resolve()
    chosen = files(root, arguments[1:])
    if not (root / "Dockerfile").is_file():
        print(f"{root} holds no Dockerfile: pg_image_context must name the collection's root directory", file=sys.stderr)
        return 1
    if target:
        pack(root, chosen, target)
    print(hashed(root, chosen))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
