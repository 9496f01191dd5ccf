"""Where each SES v2 REST operation is found: its name, its method, its path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from relay.sandbox import ses, ses_configuration_sets, ses_destinations, ses_identities, ses_suppression
from relay.sandbox.cloud import Cloud
from relay.sandbox.wire import Caller

Perform = Callable[[Cloud, Caller, Request, bytes], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """`path` is a route of Starlette, under /v2/email."""

    name: str
    method: str
    path: str
    perform: Perform


_IDENTITY, _SET, _SUPPRESSED = "/identities/{name}", "/configuration-sets/{name}", "/suppression/addresses"
_DESTINATIONS = f"{_SET}/event-destinations"
_DESTINATION = f"{_DESTINATIONS}/{{destination}}"
_ADDRESS = f"{_SUPPRESSED}/{{address:path}}"  # a local part may have a slash in it

# fmt: off
OPERATIONS = [Operation(*row) for row in (
    ("SendEmail",                   "POST",   "/outbound-emails", ses.send_email),
    ("GetAccount",                  "GET",    "/account",         ses.get_account),
    ("CreateEmailIdentity",         "POST",   "/identities",      ses_identities.create_email_identity),
    ("GetEmailIdentity",            "GET",    _IDENTITY,          ses_identities.get_email_identity),
    ("DeleteEmailIdentity",         "DELETE", _IDENTITY,          ses_identities.delete_email_identity),
    ("PutEmailIdentityMailFromAttributes", "PUT", f"{_IDENTITY}/mail-from", ses_identities.put_mail_from),
    ("PutEmailIdentityConfigurationSetAttributes", "PUT", f"{_IDENTITY}/configuration-set",
     ses_identities.put_configuration_set),
    ("PutEmailIdentityFeedbackAttributes", "PUT", f"{_IDENTITY}/feedback", ses_identities.put_feedback),
    # The lists were GETs until SES gave them filters; clients of both ages are about.
    ("ListEmailIdentities",         "GET",    "/identities",      ses_identities.list_email_identities),
    ("ListEmailIdentities",         "POST",   "/list-identities", ses_identities.list_email_identities),
    ("CreateConfigurationSet",      "POST",   "/configuration-sets", ses_configuration_sets.create_configuration_set),
    ("GetConfigurationSet",         "GET",    _SET,               ses_configuration_sets.get_configuration_set),
    ("DeleteConfigurationSet",      "DELETE", _SET,               ses_configuration_sets.delete_configuration_set),
    ("ListConfigurationSets",       "GET",    "/configuration-sets", ses_configuration_sets.list_configuration_sets),
    ("ListConfigurationSets",       "POST",   "/list-configuration-sets",
     ses_configuration_sets.list_configuration_sets),
    ("PutConfigurationSetSuppressionOptions", "PUT", f"{_SET}/suppression-options",
     ses_configuration_sets.put_suppression_options),
    ("PutConfigurationSetTrackingOptions", "PUT", f"{_SET}/tracking-options",
     ses_configuration_sets.put_tracking_options),
    ("PutConfigurationSetDeliveryOptions", "PUT", f"{_SET}/delivery-options",
     ses_configuration_sets.put_delivery_options),
    ("PutConfigurationSetSendingOptions", "PUT", f"{_SET}/sending", ses_configuration_sets.put_sending_options),
    ("CreateConfigurationSetEventDestination", "POST", _DESTINATIONS, ses_destinations.create_destination),
    ("GetConfigurationSetEventDestinations", "GET", _DESTINATIONS, ses_destinations.get_destinations),
    ("UpdateConfigurationSetEventDestination", "PUT", _DESTINATION, ses_destinations.update_destination),
    ("DeleteConfigurationSetEventDestination", "DELETE", _DESTINATION, ses_destinations.delete_destination),
    ("PutSuppressedDestination",    "PUT",    _SUPPRESSED,        ses_suppression.put_suppressed_destination),
    ("ListSuppressedDestinations",  "GET",    _SUPPRESSED,        ses_suppression.list_suppressed_destinations),
    ("GetSuppressedDestination",    "GET",    _ADDRESS,           ses_suppression.get_suppressed_destination),
    ("DeleteSuppressedDestination", "DELETE", _ADDRESS,           ses_suppression.delete_suppressed_destination),
)]
# fmt: on
