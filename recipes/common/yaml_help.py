"""The text of ``--help``: usage, the keys of a YAML with defaults and comments, run options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from speechbrain.utils.run_opts import HELP_TEXTS

from recipes.common.yaml_tree import Source, TaggedScalar, tag_of

USAGE = """usage: python train.py FILE.yaml [--key value] [--group.key value] [--run_option [value]]

  --key value           change a top-level key; lists as '[1, 2]', tuples as '(1, 2)', null
  --group.key value     change a key inside a group or an included file
  --corpus FILE.yaml    include another file where the YAML includes one
  --help                this text; after FILE.yaml, its keys
  --dry_run             print the YAML with everything filled in, and check it"""
WIDTH = 100
# Where our Brain does something else than SpeechBrain's words say; None: the option is refused.
OWN_WORDS = {
    "max_grad_norm": "Joint gradient norm is clipped to this value, > 0; null disables.",
    "nonfinite_patience": "Updates in a row that may be skipped for a non-finite loss or gradient.",
    "optimizer_step_limit": "Number of updates to run; the same as the YAML key max_updates.",
    "skip_nonfinite_grads": "No effect: updates with non-finite gradients are always skipped.",
    "data_parallel_backend": None,
}


def usage_text() -> str:
    """Return usage and SpeechBrain's run options."""
    return f"{USAGE}\n\n{_run_options_text()}"


def _run_options_text() -> str:
    words = {**HELP_TEXTS, **OWN_WORDS}
    options = [f"  --{name:<36} {text}" for name, text in sorted(words.items()) if text]
    return "\n".join(["run options, also allowed as YAML keys:", *options])


def help_text(view: Source) -> str:
    """Return usage, and each top-level key of a YAML with default and comment.

    Arguments
    ---------
    view : Source
        With included files in place.

    Returns
    -------
    str
        Several lines.
    """
    rows = [f"keys of {view.path.name}:"]
    for key, value in view.tree.items():
        if not str(key).startswith("__"):
            rows += _rows(view, str(key), value, depth=0)
    return "\n".join([USAGE, "", *rows, "", _run_options_text()])


def _rows(view: Source, path: str, value: Any, *, depth: int) -> list[str]:
    comment = view.comments.get(path, "")
    left = f"  {'  ' * depth}--{path} {_default(value)}"
    rows = [f"{left:<50}  {comment}".rstrip()[: WIDTH * 2]]
    if depth == 0 and isinstance(value, Mapping) and not tag_of(value):
        for key, child in value.items():
            rows += _rows(view, f"{path}.{key}", child, depth=1)
    return rows


def _default(value: Any) -> str:
    if isinstance(value, TaggedScalar):
        return f"{tag_of(value)} {value.value}".strip()
    if isinstance(value, Mapping):
        return tag_of(value)
    if isinstance(value, list):
        return f"[{', '.join(_default(item) for item in value)}]"
    return "null" if value is None else str(value)
