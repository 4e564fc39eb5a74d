"""Building a YAML's objects, with errors that name the key."""

from __future__ import annotations

from typing import Any

from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml.loader import Loader
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from recipes.common.yaml_tree import join


class _NamingLoader(Loader):
    """Loader that knows the path of every node, and adds it to what a constructor raises."""

    def __init__(self, stream: Any, **options: Any) -> None:
        super().__init__(stream, **options)
        self._paths: dict[int, str] = {}

    def construct_document(self, node: Node) -> Any:
        self._name(node, "")
        return super().construct_document(node)

    def construct_object(self, node: Node, deep: bool = True) -> Any:
        # HyperPyYAML changes the parent's default of `deep` to True while it loads.
        try:
            return super().construct_object(node, deep=deep)
        except BuildError:
            raise
        except Exception as error:  # reason: any constructor may fail; re-raised with its key
            tag = str(getattr(node.tag, "value", None) or node.tag)
            path = self._paths.get(id(node), "?")
            raise BuildError(f"{path} ({tag}): {type(error).__name__}: {error}") from error

    def _name(self, node: Node, path: str) -> None:
        if id(node) in self._paths:
            return
        self._paths[id(node)] = path
        if isinstance(node, MappingNode):
            for key, value in node.value:
                self._name(value, join(path, key.value))
        elif isinstance(node, SequenceNode):
            for index, value in enumerate(node.value):
                self._name(value, join(path, index))


class BuildError(ValueError):
    """An object of a YAML could not be built."""


def build(text: str, *, where: str) -> dict[str, Any]:
    """Build the objects of a resolved YAML.

    Arguments
    ---------
    text : str
        YAML with references filled in.
    where : str
        Name of the file, for errors.

    Returns
    -------
    dict
        Objects by key; keys that begin with ``__`` are left out.

    Raises
    ------
    BuildError
        If a constructor raises; names the key, the tag and the cause. It is a ValueError.
    """
    try:
        objects: dict[str, Any] = load_hyperpyyaml(text, loader=_NamingLoader)
    except BuildError as error:
        raise BuildError(f"{where}: {error}") from error.__cause__
    return objects
