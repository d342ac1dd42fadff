"""The configuration: load files, check them, and turn them into typed options."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from otel_pipeline.config.check import Checked, Classes, check_tree
from otel_pipeline.config.load import load_tree

__all__ = ["DEFAULT_FILE", "Checked", "read"]

DEFAULT_FILE = Path(__file__).parent.parent / "shipped" / "collector-config" / "gateway.yaml"
"""What runs where no file is given."""


def read(
    files: Sequence[Path] = (),
    sets: Sequence[str] = (),
    *,
    environment: Mapping[str, str] = os.environ,
    components: Classes | None = None,
) -> Checked:
    """Everything that the files configure, later ones over earlier ones, `sets` last; DEFAULT_FILE without files.

    Raises ConfigError with every problem of every kind.
    """
    tree, problems = load_tree(files or (DEFAULT_FILE,), sets, environment)
    return check_tree(tree, problems, components=components, environment=environment)
