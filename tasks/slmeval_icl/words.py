"""The words that the generated rows are made of: common, short, and each in one list alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

#: things that have nothing to do with each other, nor with the categories below
NOUNS: Sequence[str] = tuple(
    """
    river lamp cloud king door song hill moon box ring star road bell ball book sea wind clock coin gate
    letter window garden market night school bridge island mirror candle pocket summer winter morning
    circle finger number corner table chair bottle button blanket castle desert shadow field fire flag
    game heart hotel house lake map mountain ocean party picture pillow prince rain sand sky snow storm
    street tower valley village wall wave yard
    """.split()
)

#: words that say nothing about the answer
IDLE: Sequence[str] = tuple(
    "old new big small red blue wet dry hot cold far near long short hard soft".split()
)

#: sixteen members of each category, none of which is a member of another
CATEGORIES: Mapping[str, Sequence[str]] = {
    name: tuple(members.split())
    for name, members in {
        "animal": "dog cat horse cow pig sheep goat lion tiger bear wolf fox rabbit monkey elephant camel",
        "plant": "rose oak pine grass tulip daisy fern lily ivy moss cactus maple willow bamboo birch clover",
        "food": "bread cheese rice soup butter cake pizza salad "
        "sausage pie honey cookie sandwich bacon pudding pasta",
        "tool": "hammer saw drill wrench shovel axe rake scissors "
        "screwdriver pliers chisel ladder spade knife hoe crowbar",
        "job": "doctor teacher farmer nurse lawyer baker pilot soldier "
        "writer painter singer actor waiter judge dentist plumber",
        "material": "wood iron glass paper cotton copper steel leather "
        "plastic rubber silk wool clay concrete velvet tin",
        "country": "France Spain Italy Germany Japan China Brazil India "
        "Canada Mexico Egypt Russia Greece Norway Sweden Poland",
        "vehicle": "car bus train truck boat ship bicycle plane "
        "tram van taxi motorcycle ferry helicopter tractor yacht",
    }.items()
}
