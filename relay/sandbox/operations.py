"""The names of all operations of AWS that the sandbox speaks: those a script can be for."""

from __future__ import annotations

OPERATIONS = frozenset(
    """
    SendEmail GetAccount
    CreateEmailIdentity GetEmailIdentity DeleteEmailIdentity ListEmailIdentities PutEmailIdentityMailFromAttributes
    PutEmailIdentityConfigurationSetAttributes PutEmailIdentityFeedbackAttributes
    CreateConfigurationSet GetConfigurationSet DeleteConfigurationSet ListConfigurationSets
    PutConfigurationSetSuppressionOptions PutConfigurationSetTrackingOptions PutConfigurationSetDeliveryOptions
    PutConfigurationSetSendingOptions
    CreateConfigurationSetEventDestination GetConfigurationSetEventDestinations
    UpdateConfigurationSetEventDestination DeleteConfigurationSetEventDestination
    PutSuppressedDestination GetSuppressedDestination DeleteSuppressedDestination ListSuppressedDestinations
    CreateQueue GetQueueUrl ListQueues DeleteQueue PurgeQueue GetQueueAttributes SetQueueAttributes
    TagQueue UntagQueue ListQueueTags
    SendMessage ReceiveMessage DeleteMessage DeleteMessageBatch ChangeMessageVisibility ChangeMessageVisibilityBatch
    CreateTopic DeleteTopic ListTopics GetTopicAttributes SetTopicAttributes Publish
    TagResource UntagResource ListTagsForResource
    Subscribe ConfirmSubscription Unsubscribe ListSubscriptions ListSubscriptionsByTopic
    GetSubscriptionAttributes SetSubscriptionAttributes
    GetCallerIdentity
    """.split()  # noqa: SIM905
)
