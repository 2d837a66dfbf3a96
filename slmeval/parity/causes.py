"""Why two sides differ: each cause with its evidence, what is ruled out, and what cannot be told."""

from __future__ import annotations

from slmeval.parity.files import look_into
from slmeval.parity.ids import by_ids
from slmeval.parity.numbers import by_numbers
from slmeval.parity.templates import template_verdict
from slmeval.parity.view import NOTHING, Findings, View, together
from slmeval.parity.written import by_engine

#: what the reason of a failed job begins with, where an engine's tokenizer is another one
_OTHER_TOKENIZER = "the tokenizer of "


def explain(view: View) -> Findings:
    """Every cause that can be told; those that are shown come before those that are inferred."""
    asked = together(_by_server(view), _by_failure(view), by_ids(view), by_engine(view))
    files = look_into(view)
    numbers = by_numbers(view, files, alone=not asked.causes)
    return together(asked, _by_template(view), files.findings, numbers)


def _by_server(view: View) -> Findings:
    found = NOTHING
    for side in view.sides:
        own = (f"its token ids are its own, and are not known here ({side.job.tokenizer.origin})",)
        for note in side.of_server or own if side.by_server else ():
            touched = sum(pair.comparable for pair in view.pairs) if view.differs else 0
            found += view.cause("server", "shown", f"{side.name}: {note}", touched)
    return found


def _by_failure(view: View) -> Findings:
    """An engine that was not asked since its own tokenizer is another one."""
    reasons = [(side.name, reason) for side in view.sides for reason in side.failures]
    return together(
        *(
            view.cause("tokenizer", "shown", f"{name} was not asked: {reason}", None)
            for name, reason in reasons
            if reason.startswith(_OTHER_TOKENIZER)
        )
    )


def _by_template(view: View) -> Findings:
    verdict = template_verdict(view.first, view.other)
    if verdict is None:
        return NOTHING
    if verdict.difference:
        untouched = "nothing was asked through a template, so that no number of this report comes of it"
        return view.cause("template", "shown", f"{verdict.difference}; {untouched}", 0)
    return Findings(
        ruled_out=(f"template: {verdict.alike}",) if verdict.alike else (),
        untold=(verdict.untold,) if verdict.untold else (),
    )
