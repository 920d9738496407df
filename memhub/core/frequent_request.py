"""How the classes of requests that are asked often are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

C = TypeVar("C")


@dataclass_transform(frozen_default=True)
def frequent_request(cls: type[C]) -> type[C]:
    """Make the dataclass of a request that is asked often: only a type checker finds it frozen.

    A frozen dataclass assigns each field through `object.__setattr__`. That takes three times as
    long, as much as a tenth of a whole MEMRANGE_GET over the service.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)
