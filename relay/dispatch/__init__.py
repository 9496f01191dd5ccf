"""Moves queued deliveries to SES, one lane per SES account."""
