"""What mlx-lm's converter can write, by the names under which it is asked for."""

from __future__ import annotations

from dataclasses import dataclass

#: group sizes that MLX has kernels for, and the one that mlx-lm takes by itself
GROUPS, USUAL_GROUP = (32, 64, 128), 64
#: bits that MLX has kernels for
BITS = (8, 6, 5, 4, 3, 2)


@dataclass(frozen=True)
class Form:
    """Either a type of floating numbers, or bits and size of the groups that share a scale, in a mode."""

    dtype: str | None = None
    bits: int | None = None
    group: int | None = None
    mode: str = "affine"


def _affine() -> dict[str, Form]:
    usual = {f"{bits}bit": Form(bits=bits, group=USUAL_GROUP) for bits in BITS}
    others = {
        f"{bits}bit-g{group}": Form(bits=bits, group=group)
        for bits in BITS
        for group in GROUPS
        if group != USUAL_GROUP
    }
    return usual | others


FORMS = {
    "F32": Form(dtype="float32"),
    "F16": Form(dtype="float16"),
    "BF16": Form(dtype="bfloat16"),
    **_affine(),
    "mxfp8": Form(bits=8, group=32, mode="mxfp8"),
    "mxfp4": Form(bits=4, group=32, mode="mxfp4"),
    "nvfp4": Form(bits=4, group=16, mode="nvfp4"),
}
