"""YAML files as trees: inheritance, includes, and where each default and comment stands.

A run file may begin with ``__base__: other.yaml`` (relative to itself): it is that file plus the
top-level keys it lists, which replace the base's. HyperPyYAML resolves tags and references later;
here only files are put together.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.error import YAMLError
from ruamel.yaml.tag import Tag

BASE_KEY = "__base__"
DATA_KEY = "__with_data_folder__"
INCLUDE = "!include:"
PLACEHOLDER = "!PLACEHOLDER"


@dataclass
class Source:
    """A YAML file with its bases, as a tree with tags.

    Arguments
    ---------
    path : Path
        The file.
    tree : CommentedMap
        Its keys; include tags hold paths that do not depend on the file's place.
    comments : dict
        Comment at the end of a key's line, by dotted path.
    with_data_folder : str or None
        The file's own ``__with_data_folder__``; not inherited.
    has_base : bool
        Whether it begins with ``__base__``.
    """

    path: Path
    tree: CommentedMap
    comments: dict[str, str] = field(default_factory=dict)
    with_data_folder: str | None = None
    has_base: bool = False


def read_source(path: Path, *, chain: tuple[Path, ...] = ()) -> Source:
    """Read a YAML file and its bases.

    Arguments
    ---------
    path : Path
        The file.
    chain : tuple[Path, ...]
        Files that led here; a file among them again is a cycle.

    Returns
    -------
    Source
        The file's keys over its base's, in the base's order.

    Raises
    ------
    ValueError
        If a file is missing, is no YAML mapping, or its bases form a cycle.
    """
    path = path.resolve()
    if path in chain:
        names = " -> ".join(p.name for p in (*chain, path))
        raise ValueError(
            f"{path}: {BASE_KEY} forms a cycle: {names}; expected a chain with an end."
        )
    tree, comments = _parse(path)
    base_name = tree.pop(BASE_KEY, None)
    with_data_folder = tree.pop(DATA_KEY, None)
    _fix_includes(tree, path.parent)
    if base_name is None:
        return Source(path, tree, comments, with_data_folder)
    base = read_source(path.parent / str(base_name), chain=(*chain, path))
    for key, value in tree.items():
        dropped = [p for p in base.comments if p == key or p.startswith(f"{key}.")]
        for dotted in dropped:
            del base.comments[dotted]
        base.tree[key] = value
    comments = {**base.comments, **comments}
    return Source(path, base.tree, comments, with_data_folder, has_base=True)


def _parse(path: Path) -> tuple[CommentedMap, dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read ({error.strerror}); expected a YAML file."
        ) from error
    if re.search(r"^\s*<<\s*:\s*!include", text, re.MULTILINE):
        raise ValueError(
            f"{path}: merges an include with `<<`, which drops the keys beside it; expected "
            f"`name: {INCLUDE}file.yaml {{...}}`, or {BASE_KEY}."
        )
    try:
        tree = new_yaml().load(text)
    except YAMLError as error:
        raise ValueError(f"{path}: is no valid YAML: {error}") from error
    if not isinstance(tree, CommentedMap):
        raise ValueError(f"{path}: holds {type(tree).__name__}; expected a mapping of keys.")
    return tree, dict(_comments(tree, text.splitlines(), ""))


def _comments(node: Any, lines: list[str], prefix: str) -> Iterator[tuple[str, str]]:
    if not isinstance(node, CommentedMap):
        return
    for key, value in node.items():
        dotted = f"{prefix}{key}"
        position = node.lc.data.get(key) if node.lc.data else None
        if position is not None:
            found = re.search(r"(?:^|\s)#\s*(.*?)\s*$", lines[position[0]])
            if found:
                yield dotted, found[1]
        yield from _comments(value, lines, f"{dotted}.")


def new_yaml() -> YAML:
    """Return a reader and writer that keeps tags, order and quotes, and breaks no line."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1_000_000
    return yaml


def to_text(tree: CommentedMap) -> str:
    """Return a tree as YAML text."""
    stream = StringIO()
    new_yaml().dump(tree, stream)
    return stream.getvalue()


def tag_of(node: Any) -> str:
    """Return a node's own tag, such as ``!new:torch.nn.Linear``; empty if it has none.

    A tuple ``(1, 2)`` has none, although HyperPyYAML, once it has loaded anything, makes every
    later reader of the process tag them.
    """
    tag = str(getattr(getattr(node, "tag", None), "value", None) or "")
    return "" if tag == "!tuple" else tag


def include_of(node: Any) -> Path | None:
    """Return the file that a node includes; None if it is no include."""
    tag = tag_of(node)
    return Path(tag.removeprefix(INCLUDE)) if tag.startswith(INCLUDE) else None


def include_node(path: Path, keys: Mapping[str, Any] | None = None) -> CommentedMap:
    """Return a node that includes a file with the given keys replaced.

    Arguments
    ---------
    path : Path
        The file.
    keys : Mapping[str, Any] | None
        Keys to replace in it.

    Returns
    -------
    CommentedMap
        Tagged ``!include:``, with a path that does not depend on where the node stands.

    Raises
    ------
    ValueError
        If no spelling of the path fits into a tag.
    """
    spelling = str(path.resolve())
    if not spelling.isascii():
        spelling = os.path.relpath(path.resolve())
    if not spelling.isascii():
        raise ValueError(f"{path}: an included path has other than ASCII letters; rename it.")
    node = CommentedMap(keys or {})
    escaped = re.sub(r"[^\w./:@+=~-]", lambda m: f"%{ord(m[0]):02X}", spelling)
    node.yaml_set_ctag(Tag(suffix=INCLUDE + escaped))
    return node


def _fix_includes(node: Any, folder: Path) -> None:
    for key, value in list(children(node)):
        file = include_of(value)
        if file is not None:
            keys = value if isinstance(value, CommentedMap) else None
            node[key] = include_node(folder / file, keys)
        _fix_includes(node[key], folder)


def children(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield keys and values of a mapping or list; nothing for others."""
    if isinstance(node, Mapping):
        yield from node.items()
    elif isinstance(node, list):
        yield from enumerate(node)


def join(prefix: str, key: Any) -> str:
    """Return the path of a child: ``model.layers[2]``."""
    if isinstance(key, int):
        return f"{prefix}[{key}]"
    return f"{prefix}.{key}" if prefix else str(key)


def walk(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and node of everything below ``node``."""
    for key, value in children(node):
        path = join(prefix, key)
        yield path, value
        yield from walk(value, path)


def copy_tree(node: Any) -> Any:
    """Return a deep copy."""
    return copy.deepcopy(node)


def is_plain(node: Any) -> bool:
    """Say whether a node is a value or an untagged mapping or list."""
    return not isinstance(node, TaggedScalar) and not tag_of(node)


__all__ = [
    "BASE_KEY",
    "DATA_KEY",
    "INCLUDE",
    "PLACEHOLDER",
    "CommentedMap",
    "CommentedSeq",
    "Source",
    "TaggedScalar",
    "children",
    "copy_tree",
    "include_node",
    "include_of",
    "is_plain",
    "join",
    "new_yaml",
    "read_source",
    "tag_of",
    "to_text",
    "walk",
]
