"""Amazon SES: the only door to botocore."""
