"""Compares the queue of an account's events, and the one for those nobody can read, with what they have to be. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from relay.management.setting_up.matters import Matter, Step, amiss, by_hand, fine, taken, unseen
from relay.management.setting_up.seen import ANY_NUMBER, Seen
from relay.management.setting_up.wanted import TAG, Wanted
from relay.ses.granting import permits, queue_statement, sending, with_statement
from relay.ses.queues import RETENTION, TRIES, VISIBILITY, Queue, create_queue, redrive, set_queue, tag_queue

DAY = 86_400
LOOKING = "sqs:GetQueueUrl, sqs:GetQueueAttributes"


def judge_queue(seen: Seen, wanted: Wanted) -> Iterator[Matter]:
    """First where dead letters go: the queue itself names it."""
    check = f"queue {wanted.queue}"
    if "queue" in seen.unseen:
        yield unseen(check, seen.unseen["queue"], f"{LOOKING} on it")
        return
    queue = seen.queue
    if queue is not None and (strange := stranger(queue.tags, wanted)):
        yield taken(check, strange, other_name(wanted))
        return
    yield _dead(seen, wanted)
    number = seen.number or ANY_NUMBER
    arn = wanted.arn("sqs", number, wanted.queue)
    statement = queue_statement(arn, wanted.topic(number))
    lasting = {"VisibilityTimeout": str(VISIBILITY), "MessageRetentionPeriod": str(RETENTION)}
    redriven = {"RedrivePolicy": redrive(wanted.arn("sqs", number, wanted.dead))}
    if queue is None:
        said = f"create the queue {wanted.queue}: kept {RETENTION // DAY} days, open to the topic alone"
        policy = {"Policy": with_statement(None, statement)}
        step = Step(create_queue(wanted.queue, lasting | redriven | policy, wanted.tags), said)
        yield amiss(check, wanted.account, "there is none", step)
        return
    yield _attributes(check, queue, wanted, redriven)
    visit = sending(arn, wanted.topic(number), number)
    check = f"queue policy of {queue.name}"
    if not permits(queue.policy, visit):
        call = set_queue(queue, {"Policy": with_statement(queue.policy, statement)})
        said = "the topic may not put events into it"
        yield amiss(check, wanted.account, said, Step(call, f"let the topic put events into {queue.name}"))
    elif permits(queue.policy, visit.by_a_stranger):
        said = "it lets in strangers: whoever knows its name can forge events"
        yield by_hand(check, said, f"take the statement away that lets everybody send to {queue.arn} (SQS console)")
    else:
        yield fine(check, "the topic may put events into it")
    if queue.kms_key == "alias/aws/sqs":
        remedy = "encrypt it with a key of SQS's (SSE-SQS) or one of your own that sns.amazonaws.com may use"
        yield by_hand(f"encryption of {queue.name}", "it is encrypted with a key that SNS cannot use", remedy)


def _dead(seen: Seen, wanted: Wanted) -> Matter:
    name = seen.queue.dead.rpartition(":")[2] if seen.queue is not None and seen.queue.dead else wanted.dead
    check = f"dead-letter queue {name}"
    if "dead" in seen.unseen:
        return unseen(check, seen.unseen["dead"], f"{LOOKING} on it")
    if seen.dead is not None:
        # Somebody's own is kept as it is; ours keeps what it has for as long as there is.
        if name != wanted.dead or seen.dead.retention >= RETENTION:
            return fine(check, f"it keeps what nobody can read for {seen.dead.retention // DAY} days")
        said = f"it keeps letters for {seen.dead.retention // DAY} days, not {RETENTION // DAY}"
        call = set_queue(seen.dead, {"MessageRetentionPeriod": str(RETENTION)})
        return amiss(check, wanted.account, said, Step(call, f"let {name} keep letters for {RETENTION // DAY} days"))
    said = f"create the queue {wanted.dead}, for events that nobody can read: kept {RETENTION // DAY} days"
    call = create_queue(wanted.dead, {"MessageRetentionPeriod": str(RETENTION)}, wanted.tags)
    return amiss(check, wanted.account, "there is none", Step(call, said))


def _attributes(check: str, queue: Queue, wanted: Wanted, redriven: Mapping[str, str]) -> Matter:
    differences, attributes = [], {}
    if queue.visibility != VISIBILITY:
        differences.append(f"an event that was taken comes again after {queue.visibility} s, not {VISIBILITY}")
        attributes["VisibilityTimeout"] = str(VISIBILITY)
    if queue.retention != RETENTION:
        differences.append(f"it keeps events for {queue.retention // DAY} days, not {RETENTION // DAY}")
        attributes["MessageRetentionPeriod"] = str(RETENTION)
    if queue.dead is None:
        differences.append("what nobody can read stays in it")
        attributes |= redriven
    elif queue.tries != TRIES:
        differences.append(f"what nobody can read is laid aside after {queue.tries} tries, not {TRIES}")
        attributes["RedrivePolicy"] = redrive(queue.dead)
    steps = []
    if attributes:
        steps.append(Step(set_queue(queue, attributes), f"mend the queue {queue.name}: {'; '.join(differences)}"))
    if is_untagged(queue.tags):
        differences.append("it does not say whose it is")
        steps.append(Step(tag_queue(queue, wanted.tags), f"tag the queue {queue.name} as this installation's"))
    if steps:
        return amiss(check, wanted.account, "; ".join(differences), *steps)
    return fine(check, f"it keeps events for {RETENTION // DAY} days")


# -- whose a queue or a topic is -------------------------------------------------------------------------------------


def stranger(tags: Mapping[str, str] | None, wanted: Wanted) -> str:
    """The other installation that has it; "" where it is ours or nobody's."""
    owner = (tags or {}).get(TAG, wanted.installation)
    return "" if owner == wanted.installation else owner


def is_untagged(tags: Mapping[str, str] | None) -> bool:
    return tags is not None and TAG not in tags


def other_name(wanted: Wanted) -> str:
    """Two installations with one queue would each take half of the other's events."""
    if wanted.is_declared:
        return f"name another in the configuration file: ses_accounts.{wanted.account}.feedback.queue"
    return f"name another: `relay account set {wanted.account} --queue NAME`, then set up again"
