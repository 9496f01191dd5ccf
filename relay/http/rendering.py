"""Makes a letter that names a template into one that says it itself."""

from __future__ import annotations

from dataclasses import replace

from relay.errors import Fault, Kind, Problem
from relay.http.letter import Letter
from relay.http.state import State
from relay.routing.limits import Share
from relay.routing.senders import Credential
from relay.templates.template import Flawed, require_bounded

PER_CHARACTER = 3  # octets, as text and in the composed message


async def filled_in(state: State, credential: Credential, letter: Letter, share: Share) -> Letter:
    """The letter, with the subject and bodies that its tenant's template makes of its variables.

    Raises Problem(BAD_REQUEST) naming each variable that is missing, the part that cannot be made, or `template`
    where there is no such; Problem(OVERLOADED). `share` is charged with what comes out.
    """
    use = letter.template
    if use is None:
        return letter
    require_bounded(use.variables)
    tenant_id = credential.tenant_id
    try:
        template = await state.filling.stored(state.store, tenant_id, use.name, use.version)
        filled = await state.filling.fill(tenant_id, template, use.variables, use.missing)
    except Flawed as exc:
        raise exc.problem from exc
    except Problem as problem:
        if problem.kind is not Kind.NOT_FOUND:
            raise
        raise Problem(Kind.BAD_REQUEST, faults=(Fault("template", problem.detail),)) from problem
    made = replace(letter, subject=filled.subject, text=filled.text, html=filled.html, template=None)
    share.take(PER_CHARACTER * made.weight)
    return made
