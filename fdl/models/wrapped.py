"""A model that runs another with something changed: what both are asked for goes one way."""

from typing import Any, Self, cast

import flax.linen as nn


class Wrapped(nn.Module):
    """Another model, every method of which that tasks call runs through `run`.

    Attributes:
      model: what runs. Beside itself, it is asked for `encode`, `decode`, `features` and `cached`, where it
        has them: what tasks call.
    """

    model: nn.Module

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """What the model returns."""
        return self.run("__call__", arguments, options)

    def encode(self, *arguments: Any, **options: Any) -> Any:
        """What the model's `encode` returns."""
        return self.run("encode", arguments, options)

    def decode(self, *arguments: Any, **options: Any) -> Any:
        """What the model's `decode` returns."""
        return self.run("decode", arguments, options)

    def features(self, *arguments: Any, **options: Any) -> Any:
        """What the model's `features` returns."""
        return self.run("features", arguments, options)

    @nn.nowrap
    def cached(self, size: int) -> Self:
        """The same with the model's `cached(size)`."""
        return self.clone(model=cast(Any, self.model).cached(size))

    def run(self, method: str, arguments: Any, options: Any) -> Any:
        """What the model's method returns, with what is changed."""
        raise NotImplementedError


def calling(method: str) -> Any:
    """`run(model, ...)`, which calls a model's method, as Flax's transformations of modules take it."""

    def run(model: Any, *arguments: Any, **options: Any) -> Any:
        return getattr(model, method)(*arguments, **options)

    return run
