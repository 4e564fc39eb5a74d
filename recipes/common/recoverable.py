"""SpeechBrain's checkpoint decorators, with types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from speechbrain.utils.checkpoints import (
    DEFAULT_SAVE_HOOKS,
    get_default_hook,
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)

Method = TypeVar("Method", bound=Callable[..., None])
Class = TypeVar("Class", bound=type)


def saver(method: Method) -> Method:
    """Mark ``method(self, path)`` as what writes the object into a checkpoint."""
    marked: Method = mark_as_saver(method)
    return marked


def loader(method: Method) -> Method:
    """Mark ``method(self, path, end_of_epoch)`` as what reads the object back."""
    marked: Method = mark_as_loader(method)
    return marked


def recoverable(cls: Class) -> Class:
    """Register a class with a saver, run on the main process only, and a loader, run on all."""
    registered: Class = register_checkpoint_hooks(cls)
    return registered


def recoverable_on_all(cls: Class) -> Class:
    """Register a class whose saver runs on all ranks, because it gathers from them."""
    registered: Class = register_checkpoint_hooks(cls, save_on_main_only=False)
    return registered


def is_recoverable(obj: Any) -> bool:
    """Say whether SpeechBrain knows how to save ``obj``."""
    return get_default_hook(obj, DEFAULT_SAVE_HOOKS) is not None
