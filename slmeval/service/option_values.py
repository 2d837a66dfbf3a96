"""Values of options as a request gives them, and one sentence for those that are none."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError


def _told_shortly(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Of four kinds that a value may have, it says of each why it is not of it."""
    try:
        return check(value)
    except ValidationError:
        raise PydanticCustomError(
            "value", "input should be a text of at most 1000 characters, a finite number, true or false"
        ) from None


#: the value of an option; what is no text is written as JSON writes it
Value = Annotated[
    Annotated[str, StringConstraints(max_length=1000)]
    | bool
    | int
    | Annotated[float, Field(allow_inf_nan=False)],
    WrapValidator(_told_shortly),
]
