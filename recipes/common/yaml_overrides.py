"""Changes of YAML keys from the command line, checked against the defaults that they replace."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hyperpyyaml.core import recursive_resolve
from speechbrain.utils.logger import get_logger

from recipes.common.command_line import MISSING, RUN_OPTIONS, Override
from recipes.common.value_types import fault_of_value
from recipes.common.yaml_tree import (
    INCLUDE,
    PLACEHOLDER,
    CommentedMap,
    CommentedSeq,
    Source,
    TaggedScalar,
    children,
    copy_tree,
    include_node,
    include_of,
    is_plain,
    join,
    read_source,
    tag_of,
)

logger = get_logger(__name__)


def expand(source: Source, faults: list[str]) -> Source:
    """Return a copy with included files in place of includes; adds what is wrong to ``faults``."""
    view = Source(source.path, copy_tree(source.tree), dict(source.comments))
    _expand_children(view, view.tree, "", faults)
    return view


def _expand_children(view: Source, node: Any, prefix: str, faults: list[str]) -> None:
    for key, value in list(children(node)):
        path = join(prefix, key)
        file = include_of(value)
        if file is not None:
            node[key] = _included(view, file, value, path, faults)
        _expand_children(view, node[key], path, faults)


def _included(view: Source, file: Path, node: Any, path: str, faults: list[str]) -> CommentedMap:
    try:
        source = read_source(file)
    except ValueError as error:
        faults.append(f"{path}: {error}")
        return CommentedMap()
    if source.has_base or source.with_data_folder is not None:
        faults.append(f"{path}: {file.name} is included; expected no keys of a run file in it.")
    view.comments.update({f"{path}.{k}": c for k, c in source.comments.items()})
    _overlay(source.tree, node, path, file, faults)
    return source.tree


def _overlay(tree: Any, keys: Any, path: str, file: Path, faults: list[str]) -> None:
    for key, value in keys.items() if isinstance(keys, Mapping) else ():
        if key not in tree:
            faults.append(f"{join(path, key)}: is no key of {file.name}; {_nearest(key, tree)}")
        elif _is_filled_mapping(value) and _is_filled_mapping(tree[key]):
            _overlay(tree[key], value, join(path, key), file, faults)
        else:
            tree[key] = value


def _is_filled_mapping(node: Any) -> bool:
    # An empty mapping names no keys, so it takes any.
    return isinstance(node, Mapping) and is_plain(node) and len(node) > 0


def apply_overrides(
    source: Source, overrides: Iterable[Override], faults: list[str]
) -> dict[str, Any]:
    """Change the source's tree as the command line says.

    Arguments
    ---------
    source : Source
        Changed in place.
    overrides : Iterable[Override]
        Whole keys are changed before keys inside them.
    faults : list[str]
        Unknown keys and wrong types are added.

    Returns
    -------
    dict
        The changes made, by dotted key.
    """
    made: dict[str, Any] = {}
    for override in sorted(overrides, key=lambda o: len(o.parts)):
        view = expand(source, [])
        try:
            _apply(source, view, override, made, faults)
        except ValueError as error:
            faults.append(f"--{override.key}: {error}")
    return made


def _apply(
    source: Source, view: Source, override: Override, made: dict[str, Any], faults: list[str]
) -> None:
    parts = override.parts
    default = _find(view.tree, parts)
    value = override.value
    file = include_of(source.tree.get(parts[0])) if len(parts) == 1 else None
    if _is_group(value) and default is not MISSING and not _is_data(view.tree, parts):
        for key, child in value.items():
            _apply(source, view, Override(f"{override.key}.{key}", _text_of(child)), made, faults)
        return
    if file is not None and override.text is not None:
        old = source.tree[parts[0]]
        source.tree[parts[0]] = _switched(source, old, override.text.removeprefix(INCLUDE))
        made[override.key] = override.text
        return
    if default is MISSING:
        faults.append(
            f"--{override.key}: is no key of {source.path.name}; {_nearest_at(view, parts)}"
        )
        return
    comment = view.comments.get(override.key, "")
    value = _typed(override, default, may_be_null="null" in comment, tree=view.tree)
    set_key(source.tree, parts, value)
    made[override.key] = value


def _switched(source: Source, old: Any, text: str) -> CommentedMap:
    # `--corpus path.yaml` over an include: another file, with those of the old replacements that
    # it knows.
    tried = [Path(text), source.path.parent / text]
    file = next((path for path in tried if path.is_file()), None)
    if file is None:
        raise ValueError(f"no file {text!r} in {Path.cwd()} or {source.path.parent}; expected one.")
    known = read_source(file).tree
    keys = old if isinstance(old, Mapping) else {}
    dropped = [str(key) for key in keys if key not in known]
    if dropped:
        logger.info("%s has no key %s: not handed on", file.name, ", ".join(dropped))
    return include_node(file, {key: value for key, value in keys.items() if key in known})


def _typed(override: Override, default: Any, *, may_be_null: bool, tree: CommentedMap) -> Any:
    """Return the override's value if it may replace ``default``."""
    value = override.value
    kind = _known_default(default, tree)
    if value is MISSING:
        if isinstance(kind, bool):
            return True
        raise ValueError("has no value; expected one.")
    if tag_of(value) or kind is None or kind is MISSING:
        return value
    if value is None:
        if may_be_null:
            return None
        raise ValueError(f"is null; expected a value like {_shown(kind)}.")
    if isinstance(kind, str):
        return _text(value, override.text, is_tuple=kind.startswith("("))
    if isinstance(kind, CommentedSeq | Mapping | TaggedScalar):
        return _group(value, override, kind)
    return _number(value, override.text, kind)


def _group(value: Any, override: Override, kind: Any) -> Any:
    if isinstance(kind, CommentedSeq) and not tag_of(kind):
        if isinstance(value, list):
            return value
        raise ValueError(f"is {override.text!r}; expected a list like {_shown(kind)}.")
    if _is_group(value):  # an object's own mapping: see _is_data
        return value
    about = tag_of(kind) or "a group of keys"
    raise ValueError(
        f"is {override.text!r}, but the key is {about}; give --{override.key}.<key> value."
    )


def _number(value: Any, text: str | None, kind: Any) -> Any:
    annotation: Any = next((k for k in (bool, int, float) if isinstance(kind, k)), None)
    if annotation is None:
        return value
    fault = fault_of_value(value if isinstance(value, bool | int | float) else text, annotation)
    if fault:
        raise ValueError(f"{fault[:-1]}, like the default {_shown(kind)}.")
    return annotation(value)


def _text(value: Any, text: str | None, *, is_tuple: bool) -> Any:
    if is_tuple and not (text or "").startswith("("):
        raise ValueError(f"is {text!r}; expected a tuple like (1, 2).")
    return value if isinstance(value, str | TaggedScalar) else str(text)


def _known_default(default: Any, tree: CommentedMap) -> Any:
    # MISSING: nothing is known about the type.
    tag = tag_of(default)
    if tag == PLACEHOLDER:
        return MISSING
    if isinstance(default, TaggedScalar) and not tag:
        return default.value  # a tuple
    if tag in ("!ref", "!copy"):
        try:
            resolved = recursive_resolve(default.value, [], tree, copy_mode=True)
        except (ValueError, KeyError, TypeError):
            return MISSING
        return MISSING if tag_of(resolved) else resolved
    return default


def _find(tree: Any, parts: list[str]) -> Any:
    for part in parts:
        if not isinstance(tree, Mapping) or part not in tree:
            return MISSING
        tree = tree[part]
    return tree


def set_key(node: Any, parts: Sequence[str], value: Any) -> None:
    """Set the value at a path of keys, in includes as a replacement."""
    for part in parts[:-1]:
        # Inside an include the key may stand in the included file only.
        node = node.setdefault(part, CommentedMap())
    node[parts[-1]] = value


def _is_group(node: Any) -> bool:
    return isinstance(node, Mapping) and not tag_of(node)


def _is_data(tree: Any, parts: list[str]) -> bool:
    """Say whether a key holds a mapping that an object takes whole, with any keys."""
    is_inside = False
    for part in parts:
        is_inside = is_inside or bool(tag_of(tree))
        tree = tree[part]
    return is_inside and _is_group(tree)


def _text_of(value: Any, *, is_nested: bool = False) -> str:
    """Return what one would type on a command line for a value."""
    if _is_group(value):
        pairs = (f"{key}: {_text_of(child, is_nested=True)}" for key, child in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list) and not tag_of(value):
        return "[" + ", ".join(_text_of(v, is_nested=True) for v in value) + "]"
    return json.dumps(value) if is_nested and isinstance(value, str) else _shown(value)


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, TaggedScalar):
        return f"{tag_of(value)} {value.value}".strip()
    return str(value)


def _nearest_at(view: Source, parts: list[str]) -> str:
    parent = _find(view.tree, parts[:-1]) if len(parts) > 1 else view.tree
    if not isinstance(parent, Mapping):
        return _nearest(parts[0], view.tree)
    nearest = _nearest(parts[-1], [*parent, *(RUN_OPTIONS if len(parts) == 1 else ())])
    if len(parts) > 1 and _is_data(view.tree, parts[:-1]):
        return f"{nearest} A new key is given with all others: --{'.'.join(parts[:-1])} '{{...}}'."
    return nearest


def _nearest(key: Any, known: Iterable[Any]) -> str:
    names = [str(name) for name in known if not str(name).startswith("__")]
    close = difflib.get_close_matches(str(key), names, n=1)
    return f"did you mean {close[0]}?" if close else f"expected one of {', '.join(names)}."
