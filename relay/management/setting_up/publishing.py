"""Compares configuration sets, and what each publishes of its mail's fate, with what they have to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from relay.declared import Via
from relay.management.setting_up.matters import Matter, Step, amiss, by_hand, fine, unseen
from relay.management.setting_up.seen import ANY_NUMBER, Seen
from relay.management.setting_up.wanted import Wanted, WantedSet
from relay.ses.destinations import (
    MOST,
    OUTCOMES,
    TRACKING,
    ConfigurationSet,
    Destination,
    create_destination,
    create_set,
    update_destination,
)

_SPOKEN = {"OPEN": "opens", "CLICK": "clicks"}


def judge_sets(seen: Seen, wanted: Wanted) -> Iterator[Matter]:
    for each in wanted.sets:
        check = f"configuration set {each.name}"
        if each.name in seen.unseen:
            actions = "ses:GetConfigurationSet, ses:GetConfigurationSetEventDestinations on it"
            yield unseen(check, seen.unseen[each.name], actions)
            continue
        found = seen.sets.get(each.name)
        if found is None:
            step = Step(create_set(each.name), f"create the configuration set {each.name}")
            yield amiss(check, wanted.account, "there is none", step)
        elif not found.is_sending:
            remedy = f"let it send again (SES console, Configuration sets, {each.name}), after a look at why it stopped"
            yield by_hand(check, "its sending is switched off", remedy)
        else:
            yield fine(check, "it is there")
        if wanted.via is not Via.NONE:
            yield _destination(seen, wanted, each, found)


def _destination(seen: Seen, wanted: Wanted, each: WantedSet, found: ConfigurationSet | None) -> Matter:
    check = f"event destination of {each.name}"
    topic = wanted.topic(seen.number or ANY_NUMBER)
    there = found.destinations if found is not None else ()
    ours = [one for one in there if one.topic == topic]
    told = frozenset[str]().union(*(one.types for one in ours if one.is_enabled))
    tracking = told & TRACKING if each.tracking is None else each.tracking
    lacking, unasked = (OUTCOMES | tracking) - told, (told & TRACKING) - tracking
    if ours and not lacking and not unasked:
        return fine(check, f"the topic is told of {_spoken(told)}")
    own = next((one for one in there if one.name == wanted.destination), None)
    if own is None and ours:  # somebody's own, which serves: it is mended rather than doubled
        own = ours[0]
    kept = own.types - TRACKING if own is not None and own in ours else frozenset[str]()
    types = kept | OUTCOMES | tracking
    elsewhere = [one for one in ours if one is not own and one.is_enabled and one.types & unasked]
    if elsewhere:
        said = f"{elsewhere[0].name} asks for {_spoken(unasked)}, which makes SES change the mail"
        return by_hand(check, said, f"take that from the event destination {elsewhere[0].name} (SES console)")
    if own is None:
        if len(there) >= MOST:
            remedy = "remove one that nobody needs (SES console), then set up again"
            return by_hand(check, f"the set has {MOST} event destinations already, as many as SES allows", remedy)
        call = create_destination(each.name, wanted.destination, types, topic)
        step = Step(call, f"let {each.name} publish {_spoken(types)} to the topic")
        return amiss(check, wanted.account, "nothing is heard of its mail", step)
    differences = _differences(own, topic, lacking, unasked)
    call = update_destination(each.name, own.name, types, topic)
    step = Step(call, f"mend the event destination {own.name} of {each.name}: {differences}")
    return amiss(check, wanted.account, differences, step)


def _differences(own: Destination, topic: str, lacking: frozenset[str], unasked: frozenset[str]) -> str:
    found = []
    if own.topic != topic:
        found.append(f"it publishes to {own.topic or 'something else than SNS'}")
    elif not own.is_enabled:
        found.append("it is disabled")
    elif lacking:
        found.append(f"it does not tell of {', '.join(sorted(lacking))}")
    if unasked:
        found.append(f"it asks for {_spoken(unasked)}, which nobody wants")
    return "; ".join(found)


def _spoken(types: frozenset[str]) -> str:
    words = [_SPOKEN[each] for each in sorted(types & TRACKING, reverse=True)]
    if types - TRACKING:
        words.insert(0, "what becomes of its mail")
    return ", ".join(words)
