"""What is counted, for Prometheus. Labels are our own words: never an address, a subject or a key."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """One registry per running server."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        made = self.registry
        self.accepted = Counter("relay_accepted", "Messages accepted", ["protocol", "mode"], registry=made)
        self.refused = Counter("relay_refused", "Requests refused", ["protocol", "reason"], registry=made)
        self.ses_calls = Counter("relay_ses_calls", "Calls to SES", ["account", "outcome"], registry=made)
        self.ses_seconds = Histogram(
            "relay_ses_call_seconds", "How long SES took", ["account"], buckets=LATENCIES, registry=made
        )
        self.deliveries = Counter("relay_deliveries", "Moves of deliveries", ["account", "state"], registry=made)
        self.possible_duplicates = Counter(
            "relay_possible_duplicates",
            "Deliveries tried again or given up though SES may have had them",
            registry=made,
        )
        self.possible_duplicates_today = Gauge(
            "relay_possible_duplicates_today", "The same, of this UTC day", ["account"], registry=made
        )
        self.reports = Counter("relay_reports", "Reports to senders over SMTP", ["action", "outcome"], registry=made)
        self.events = Counter("relay_events", "Events of SES", ["account", "type", "outcome"], registry=made)
        self.sns_posts = Counter("relay_sns_posts", "Posts of SNS", ["outcome"], registry=made)
        self.feedback_events = Counter(
            "relay_feedback_events", "Messages of event queues", ["account", "verdict"], registry=made
        )
        self.feedback_waiting = Gauge(
            "relay_feedback_waiting", "Events in the account's queue", ["account"], registry=made
        )
        self.feedback_dead = Gauge(
            "relay_feedback_dead", "Events in the queue of those that nobody could read", ["account"], registry=made
        )
        self.feedback_age = Gauge(
            "relay_feedback_age_seconds",
            "How long the oldest of the events that came last had waited in the queue",
            ["account"],
            registry=made,
        )
        self.feedback_silent = Gauge(
            "relay_feedback_silent", "1 while the account's events are missed", ["account"], registry=made
        )
        self.queue_depth = Gauge("relay_queue_deliveries", "Open deliveries", ["account", "state"], registry=made)
        self.queue_age = Gauge(
            "relay_queue_oldest_due_seconds", "How long the oldest due delivery waits", ["account"], registry=made
        )
        self.lane_rate = Gauge("relay_lane_rate", "Paced rate, recipients per second", ["account"], registry=made)
        self.lane_held = Gauge("relay_lane_held", "1 while the account is stopped", ["account"], registry=made)
        self.domain_held = Gauge(
            "relay_domain_held",
            "1 while SES stops a domain",
            ["domain", "account", "reason"],
            registry=made,
        )
        self.in_flight = Gauge("relay_lane_calls_in_flight", "Calls under way", ["account"], registry=made)
        self.message_memory = Gauge("relay_message_memory_bytes", "Octets of messages in memory", registry=made)
        self.smtp_connections = Gauge("relay_smtp_connections", "Open SMTP connections", registry=made)
        self.http_connections = Gauge("relay_http_connections", "Open HTTP connections", registry=made)
        self.smtp_failures = Counter("relay_smtp_failures", "SMTP sessions that failed", ["reason"], registry=made)
        self.newlines_repaired = Counter(
            "relay_newlines_repaired", "Messages accepted with bare carriage returns or line feeds", registry=made
        )
        self.database_bytes = Gauge("relay_database_bytes", "Size of the database", registry=made)
        self.database_free_bytes = Gauge(
            "relay_database_free_bytes", "What of a SQLite database holds nothing", registry=made
        )
        self.wal_bytes = Gauge("relay_wal_bytes", "Size of SQLite's write-ahead log", registry=made)
        self.webhook_posts = Counter("relay_webhook_posts", "Posts of events to webhooks", ["outcome"], registry=made)
        self.webhook_waiting = Gauge("relay_webhook_waiting", "Events that wait to be posted", registry=made)
        self.loop_lag = Histogram(
            "relay_event_loop_lag_seconds", "How late the event loop ran a timer", buckets=LATENCIES, registry=made
        )

    def text(self) -> bytes:
        """Everything, in the Prometheus text format."""
        return generate_latest(self.registry)
