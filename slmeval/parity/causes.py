"""Why two sides differ: each cause with its evidence, what is ruled out, and what cannot be told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slmeval.errors import ModelError
from slmeval.models import FoundModel
from slmeval.parity import weights
from slmeval.parity.control import Control
from slmeval.parity.definitions import definition_differences
from slmeval.parity.differences import Gap, gaps, same_text
from slmeval.parity.noise import Arithmetic, Ceiling, Precision, Size, arithmetic_of, exact, precision_of
from slmeval.parity.report import Basis, Cause, Kind
from slmeval.parity.shapes import shape_differences
from slmeval.parity.sides import Pair, Put, Side
from slmeval.parity.templates import template_verdict
from slmeval.parity.tokens import first_difference, marks, specials, texts_of
from slmeval.types import TokenIds

#: what the reason of a failed job begins with, where an engine's tokenizer is another one
_OTHER_TOKENIZER = "the tokenizer of "
#: what a backend's notes say of a server that makes ids, or puts a template around a text, by itself
_BY_SERVER = ("server-tokenized", "server-templated")

FileHash = Callable[[Path], str]


@dataclass
class Findings:
    """Gathered while two sides are looked at; what stands in it is final when :func:`explain` returns it."""

    causes: list[Cause] = field(default_factory=list)
    ruled_out: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)


def explain(
    pairs: Sequence[Pair], first: Side, other: Side, control: Control, file_hash: FileHash
) -> Findings:
    """Every cause that can be told, those that are shown before those that are inferred."""
    return _Explanation(pairs, first, other, control, file_hash).findings()


class _Explanation:
    def __init__(
        self, pairs: Sequence[Pair], first: Side, other: Side, control: Control, file_hash: FileHash
    ) -> None:
        self._pairs = pairs
        self._first = first
        self._other = other
        self._control = control
        self._file_hash = file_hash
        self._found = Findings()
        self._same_ids = [pair for pair in pairs if pair.equal_ids]
        self._shapes: tuple[str, ...] = ()
        #: whether both sides have the same weights; ``None`` where that cannot be told
        self._values: bool | None = None
        #: the coarser type in which weights are stored that are otherwise the same
        self._rounded: Precision | None = None

    def findings(self) -> Findings:
        self._server()
        self._failures()
        self._ids()
        self._template()
        self._shapes = self._models()
        self._values = self._weights() if self._differs_somehow() else None
        self._numbers()
        return self._found

    def _add(self, kind: Kind, basis: Basis, evidence: str, requests: int | None) -> None:
        self._found.causes.append(Cause(kind, basis, evidence, requests, len(self._pairs)))

    # ---- what was asked ------------------------------------------------------------------------------

    def _server(self) -> None:
        for side in (self._first, self._other):
            notes = side.report.notes if side.report else ()
            told = [note for note in notes if any(mark in note.lower() for mark in _BY_SERVER)]
            if side.by_server and not told:
                told = [f"its token ids are its own and are not known here ({side.job.tokenizer.origin})"]
            for note in told:
                self._add("server", "shown", f"{side.name}: {note}", len(self._pairs))

    def _failures(self) -> None:
        for side in (self._first, self._other):
            for reason in side.failures:
                if reason.startswith(_OTHER_TOKENIZER):
                    self._add("tokenizer", "shown", f"{side.name} was not asked: {reason}", 0)

    def _ids(self) -> None:
        if self._first.by_server or self._other.by_server:
            return
        reasons = [_Reasons.of(pair, self._first, self._other) for pair in self._pairs]
        told: dict[Kind, Callable[[Pair], str]] = {
            "template": self._texts_told,
            "tokenizer": self._tokens_told,
            "bos": self._marks_told,
            "truncation": self._cuts_told,
        }
        for kind, sentence in told.items():
            touched = [
                pair for pair, reason in zip(self._pairs, reasons, strict=True) if kind in reason.kinds
            ]
            if touched:
                self._add(kind, "shown", sentence(touched[0]), len(touched))
        self._ends()
        if not any(reason.kinds for reason in reasons):
            self._rule_out_ids()

    def _rule_out_ids(self) -> None:
        same = "tokenizer, BOS and truncation: all requests were asked with the same token ids on both sides"
        differences = definition_differences(self._first.job.tokenizer, self._other.job.tokenizer)
        if differences:
            same += f", though the tokenizers' definitions differ ({differences[0]})"
        if self._pairs:
            self._found.ruled_out.append(same)

    def _texts_told(self, pair: Pair) -> str:
        return f"{pair.place} is not the same text on both sides: {_texts_parted(pair)}"

    def _tokens_told(self, pair: Pair) -> str:
        ours, theirs = self._first.job.tokenizer, self._other.job.tokenizer
        one, two = (_whole(put) for put in (pair.first, pair.other))
        texts = texts_of(ours, one), texts_of(theirs, two)
        found = first_difference(one, two, *texts)
        told = f"in {pair.place} other token ids are made of the same text"
        if found is not None:
            cuts = slice(*found.first), slice(*found.other)
            piece = "".join(texts[0][cuts[0]]) or "".join(texts[1][cuts[1]])
            told = (
                f"in {pair.place} {piece!r} is {marks(ours, one[cuts[0]])} to {self._first.name}, and "
                f"{marks(theirs, two[cuts[1]])} to {self._other.name}"
            )
        differences = definition_differences(ours, theirs)
        return f"{told}; of the definitions, {'; '.join(differences)}" if differences else told

    def _marks_told(self, pair: Pair) -> str:
        ours, theirs = (
            _lead(side, _whole(put)) for side, put in ((self._first, pair.first), (self._other, pair.other))
        )
        word = "another mark"
        if not ours or not theirs:
            word = "missing on one side"
        elif set(ours) == set(theirs):
            word = "doubled on one side"
        return (
            f"{pair.place} begins with {marks(self._first.job.tokenizer, ours)} for {self._first.name}, with "
            f"{marks(self._other.job.tokenizer, theirs)} for {self._other.name}: BOS is {word}"
        )

    def _cuts_told(self, pair: Pair) -> str:
        sides = (self._first, pair.first), (self._other, pair.other)
        told = [
            f"{side.name} has a context of {side.job.model.context:,} tokens and was asked "
            + (f"without the first {put.cut:,} of {len(put.whole):,}" if put.cut else "with all of it")
            for side, put in sides
        ]
        return f"in {pair.place} {' and '.join(told)}"

    def _ends(self) -> None:
        """Texts that part where the sides end them at other tokens."""
        ends = (self._first.job.tokenizer.end_ids, self._other.job.tokenizer.end_ids)
        parted = [pair for pair in self._pairs if pair.completions and not same_text(*pair.completions)]
        if ends[0] != ends[1] and parted:
            told = [
                marks(side.job.tokenizer, ids)
                for side, ids in zip((self._first, self._other), ends, strict=True)
            ]
            self._add(
                "tokenizer",
                "shown",
                f"a text ends at {told[0]} on one side, at {told[1]} on the other",
                len(parted),
            )

    # ---- what the models are -------------------------------------------------------------------------

    def _template(self) -> None:
        verdict = template_verdict(self._first, self._other)
        if verdict is None:
            return
        if verdict.difference:
            untouched = (
                "nothing was asked through a template here, so that no number of this report comes of it"
            )
            self._add("template", "shown", f"{verdict.difference}; {untouched}", 0)
        if verdict.alike:
            self._found.ruled_out.append(f"template: {verdict.alike}")
        if verdict.untold:
            self._found.untold.append(verdict.untold)

    def _models(self) -> tuple[str, ...]:
        """What makes these two models rather than one."""
        first, other = self._first.job.model, self._other.job.model
        if _same_files(first, other):
            self._found.ruled_out.append("model and weights: both sides opened the same files")
            return ()
        infos = [side.report.info if side.report else None for side in (self._first, self._other)]
        return shape_differences(first, other, *infos)

    def _add_model(self) -> None:
        if self._shapes:
            more = f", and {len(self._shapes) - 3} more" if len(self._shapes) > 3 else ""
            self._add("model", "shown", f"{'; '.join(self._shapes[:3])}{more}", len(self._pairs))

    def _differs_somehow(self) -> bool:
        """Whether any answer differs at all; else the files need not be read."""
        return any(gap.difference > 0 for gap in self._gaps()) or any(
            not same_text(*pair.completions) for pair in self._pairs if pair.completions
        )

    def _weights(self) -> bool | None:
        """Whether both sides have the same weights; ``None`` where that cannot be told."""
        first, other = self._first.job.model, self._other.job.model
        if _same_files(first, other):
            return True
        if (first.form, other.form) != ("folder", "folder"):
            return None
        try:
            if weights.same_bytes(first.place, other.place, self._file_hash):
                self._found.ruled_out.append("weights: the files are the same to the byte")
                return True
            return self._tensors(first.place, other.place)
        except (OSError, ModelError) as error:
            self._found.untold.append(f"the weights cannot be compared: {error}")
            return None

    def _tensors(self, first: Path, other: Path) -> bool | None:
        found = weights.compare(first, other)
        if found is None:
            return None
        if found.differing:
            self._add(
                "weights",
                "shown",
                f"{found.differing:,} of {found.tensors:,} tensors hold other numbers, first {found.first}",
                len(self._pairs),
            )
            return False
        if found.rounded:
            types = [named for text in found.rounded if (named := precision_of(text))]
            self._rounded = max(types, key=lambda each: each.ceiling(0).mean, default=None)
            self._add(
                "dtype",
                "shown",
                f"the weights are stored as {found.rounded[0]} and as {found.rounded[1]}: the same numbers, "
                "rounded to the coarser type",
                len(self._pairs),
            )
        self._found.ruled_out.append(
            f"weights: all {found.tensors:,} tensors hold the same numbers"
            + (", but for the rounding to another type" if found.rounded else "")
        )
        return True

    # ---- the numbers ---------------------------------------------------------------------------------

    def _gaps(self) -> list[Gap]:
        return [*gaps(self._pairs), *self._control.gaps]

    def _numbers(self) -> None:
        """What differs where both were asked the same ids."""
        if self._control.trouble:
            self._found.untold.append(self._control.trouble)
        size = _size([*gaps(self._same_ids), *self._control.gaps])
        if size is None:
            self._add_model()
            self._no_numbers()
        elif exact(size.position).explains(size):
            self._exact(size)
        else:
            self._add_model()
            self._weigh(size)

    def _no_numbers(self) -> None:
        if self._differs_somehow():
            self._found.untold.append(
                "numerics (dtype, cache, attention): no log-probabilities of the same token ids are there"
            )

    def _exact(self, size: Size) -> None:
        """No more than float32 rounds: whatever differs in the models or is declared has no effect."""
        if self._shapes:
            self._found.ruled_out.append(f"model: {self._shapes[0]}, without effect on any number here")
        known = {cause.kind for cause in self._found.causes}
        if size.largest > 0 and not known & {"weights", "dtype"}:
            self._add("rounding", "inferred", _within(size, "float32", exact(size.position)), self._touched())

    def _weigh(self, size: Size) -> None:
        ours, theirs = (_arithmetic(side) for side in (self._first, self._other))
        declared = list(_declared(ours, theirs, size.position))
        known = sorted({cause.kind for cause in self._found.causes} & {"weights", "model"})
        if known:
            self._found.untold.extend(
                f"{each.kind}: {each.told} is declared as well; its part cannot be told beside "
                f"{' and '.join(known)}"
                for each in declared
            )
            return
        if self._rounded and self._rounded.ceiling(size.position).explains(size):
            return  # the stored types are named already
        able = [each for each in declared if each.ceiling.explains(size)]
        for each in able:
            self._add(each.kind, "inferred", self._declared_told(each, size, len(able) > 1), self._touched())
        if able:
            self._found.ruled_out.extend(
                f"{each.kind}: {each.told} is declared, and is too small a difference to explain this "
                f"({_ceiling_told(each.ceiling)})"
                for each in declared
                if each not in able
            )
        else:
            self._unexplained(size, ours, theirs, declared)

    def _declared_told(self, each: _Declared, size: Size, several: bool) -> str:
        told = f"{each.told}; {_within(size, 'that', each.ceiling)}"
        return f"{told}; it cannot be told apart from the others that can" if several else told

    def _unexplained(
        self, size: Size, ours: Arithmetic, theirs: Arithmetic, declared: Sequence[_Declared]
    ) -> None:
        shared = _shared(ours, theirs, size.position)
        if not declared and shared is not None and shared.explains(size):
            self._add("rounding", "inferred", _within(size, ours.told, shared), self._touched())
            return
        if ours.numbers is None or theirs.numbers is None:
            unknown = self._first.name if ours.numbers is None else self._other.name
            self._found.untold.append(
                f"what arithmetic {unknown} uses: {_size_told(size)} may be it, or other weights"
            )
            return
        largest = max(
            [*(each.ceiling for each in declared), *([shared] if shared else [])], key=lambda each: each.mean
        )
        told = (
            f"with the same token ids {_size_told(size)}, more than the declared arithmetic explains "
            f"({ours.told} and {theirs.told}: {_ceiling_told(largest)})"
        )
        if self._values:
            self._add(
                "engine",
                "inferred",
                f"{told}; the weights are the same, so one engine computes it otherwise",
                self._touched(),
            )
        else:
            self._add(
                "weights",
                "inferred",
                f"{told}; the tensors could not be compared: it may be the engine that computes otherwise",
                self._touched(),
            )

    def _touched(self) -> int | None:
        """Requests with a difference in the numbers; those asked with other ids cannot be told."""
        return (
            sum(gap.difference > 0 for gap in gaps(self._same_ids))
            + sum(not same_text(*pair.completions) for pair in self._same_ids if pair.completions)
            if len(self._same_ids) == len(self._pairs)
            else None
        )


def _same_files(first: FoundModel, other: FoundModel) -> bool:
    """Whether both have the same files; of a server the address alone is known."""
    return first.sha256 == other.sha256 and "server" not in (first.form, other.form)


# ---- why ids differ -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Reasons:
    """Why one request became other token ids; nothing where it did not."""

    kinds: frozenset[Kind]

    @classmethod
    def of(cls, pair: Pair, first: Side, other: Side) -> _Reasons:
        return cls(frozenset(_kinds(pair, first, other)))


def _kinds(pair: Pair, first: Side, other: Side) -> Iterator[Kind]:
    if pair.equal_ids:
        return
    if pair.first.request != pair.other.request:
        yield "template"
        return
    ours, theirs = _whole(pair.first), _whole(pair.other)
    leads = _lead(first, ours), _lead(other, theirs)
    if leads[0] != leads[1]:
        yield "bos"
    if ours[len(leads[0]) :] != theirs[len(leads[1]) :]:
        yield "tokenizer"
    if pair.first.cut != pair.other.cut and first.job.model.context != other.job.model.context:
        yield "truncation"


def _whole(put: Put) -> TokenIds:
    """All of a request, before it was cut."""
    return (*put.whole, *put.continuation)


def _lead(side: Side, ids: TokenIds) -> TokenIds:
    """The marks that stand before a text."""
    marked = specials(side.job.tokenizer)
    length = next((place for place, token in enumerate(ids) if token not in marked), len(ids))
    return ids[:length]


def _texts_parted(pair: Pair) -> str:
    one, two = (repr(put.request) for put in (pair.first, pair.other))
    place = next((at for at, both in enumerate(zip(one, two, strict=False)) if both[0] != both[1]), 0)
    return " against ".join(f"...{text[max(0, place - 20) : place + 40]}" for text in (one, two))


# ---- sizes ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Declared:
    """A difference in arithmetic that both sides declare, and what it can explain."""

    kind: Kind
    told: str
    ceiling: Ceiling


def _size(found: Sequence[Gap]) -> Size | None:
    tokens = [apart for gap in found for apart in gap.by_token]
    if not tokens:
        return None
    position = max(gap.position for gap in found)
    return Size(len(tokens), sum(tokens) / len(tokens), max(tokens), position)


def _arithmetic(side: Side) -> Arithmetic:
    info = side.report.info if side.report else None
    return arithmetic_of(info.dtype if info else "unknown", side.report.options if side.report else {})


def _declared(ours: Arithmetic, theirs: Arithmetic, position: int) -> Iterator[_Declared]:
    """What both declare otherwise, float32 and what is finer counting as the same."""
    one, two = ours.numbers, theirs.numbers
    if one and two and one != two and not (one.is_exact and two.is_exact):
        yield _Declared(
            "dtype",
            f"{ours.told} against {theirs.told}",
            max(one.ceiling(position), two.ceiling(position), key=lambda each: each.mean),
        )
    caches = (ours.effective_cache, theirs.effective_cache)
    told = ours.cache or theirs.cache
    if told and caches[0] and caches[1] and caches[0] != caches[1] and not _all_exact(*caches):
        yield _Declared(
            "kv_cache",
            f"keys and values are kept as {caches[0].name} against {caches[1].name}",
            max((each.ceiling(position) for each in caches if each), key=lambda each: each.mean),
        )
    if ours.flash != theirs.flash:
        kinds = [("fused (flash)" if each.flash else "not fused") for each in (ours, theirs)]
        # llama.cpp's fused attention rounds to float16 on its way, whatever the cache
        yield _Declared("attention", f"attention is {kinds[0]} against {kinds[1]}", Ceiling(5e-3, 0.15))


def _all_exact(*types: Precision | None) -> bool:
    return all(each is not None and each.is_exact for each in types)


def _shared(ours: Arithmetic, theirs: Arithmetic, position: int) -> Ceiling | None:
    """What two engines' rounding in the same type explains."""
    known = [each.numbers.ceiling(position) for each in (ours, theirs) if each.numbers]
    return max(known, key=lambda each: each.mean) if len(known) == 2 else None


def _size_told(size: Size) -> str:
    return (
        f"{size.tokens:,} tokens differ by {size.mean:.2g} nats in the mean and by {size.largest:.2g} at most"
    )


def _ceiling_told(ceiling: Ceiling) -> str:
    return f"up to {ceiling.mean:.2g} in the mean and {ceiling.largest:.2g} at most"


def _within(size: Size, what: str, ceiling: Ceiling) -> str:
    return (
        f"with the same token ids {_size_told(size)}, which rounding in {what} explains "
        f"({_ceiling_told(ceiling)})"
    )
