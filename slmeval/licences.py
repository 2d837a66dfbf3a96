"""What a data set's licence says of passing its rows on, as far as its name tells.

A reading of names, not legal advice: what is not plainly allowed counts as not known to be allowed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Word = Literal["allowed", "conditions", "unknown", "forbidden"]

#: from the freest to the least free
_WORDS: tuple[Word, ...] = ("allowed", "conditions", "unknown", "forbidden")


@dataclass(frozen=True)
class PassingOn:
    """Whether rows may be passed on: a word for programs, and a sentence for people."""

    word: Word
    told: str

    @property
    def free(self) -> bool:
        """Whether an archive of them may leave one's own machines, under its conditions if any."""
        return self.word in ("allowed", "conditions")


_KEEP = PassingOn("allowed", "may be passed on with its licence text")
_FREE = PassingOn("allowed", "may be passed on")
_SHARE_ALIKE = PassingOn(
    "conditions", "may be passed on if its authors are named, and under the same licence"
)
_NO = PassingOn("forbidden", "may not be passed on")

#: names as they stand in data cards and SPDX, in small letters, blanks and dashes alike
_KNOWN: tuple[tuple[str, PassingOn], ...] = (
    (r"mit( license)?|bsd( [234] clause)?|isc|(apache|afl|ecl|upl)( license)?( [\d.]+)?", _KEEP),
    (r"cc0( [\d.]+)?|public domain|pddl|unlicense|0bsd|wtfpl", _FREE),
    (r"gfdl( [\d.]+)?|odbl( [\d.]+)?|cdla sharing( [\d.]+)?", _SHARE_ALIKE),
    (r"odc by( [\d.]+)?", PassingOn("conditions", "may be passed on if its authors are named")),
    (r"cdla permissive( [\d.]+)?", _KEEP),
    (r".*\b(no redistribution|not (to )?be (re)?distributed|redistribution (is )?forbidden)\b.*", _NO),
    (r".*\b(all rights reserved|proprietary|confidential)\b.*", _NO),
)
#: Creative Commons: https://creativecommons.org/share-your-work/cclicenses/
_CC = re.compile(r"cc by((?: (?:sa|nc|nd))*)(?: [\d.]+)?(?: (?:deed|international|unported))?")
_CC_MORE = {
    "sa": "under the same licence",
    "nc": "not for money",
    "nd": "unchanged",
}


def passing_on(licence: str) -> PassingOn:
    """What a licence, as :class:`~slmeval.types.DatasetSpec` names it, says of passing rows on.

    Of several ("CC BY-SA 3.0 and GFDL") the least free decides.
    """
    parts = [part for part in re.split(r"\band\b|[,;/&+]", licence, flags=re.IGNORECASE) if part.strip()]
    found = [_of_one(part) for part in parts] or [_unknown(licence)]
    return max(found, key=lambda each: _WORDS.index(each.word))


def _of_one(name: str) -> PassingOn:
    plain = " ".join(re.sub(r"[-_\s()]+", " ", name.lower()).split())
    if match := _CC.fullmatch(plain):
        return _creative_commons(match[1].split())
    return next(
        (known for pattern, known in _KNOWN if re.fullmatch(pattern, plain)),
        _unknown(name),
    )


def _creative_commons(marks: list[str]) -> PassingOn:
    conditions = ["if its authors are named", *(_CC_MORE[mark] for mark in marks)]
    return PassingOn("conditions", f"may be passed on {', '.join(conditions)}")


def _unknown(name: str) -> PassingOn:
    said = f"licence {name.strip()!r}" if name.strip() not in ("", "unknown") else "its licence is not known"
    return PassingOn("unknown", f"is not known to be free to pass on ({said})")
