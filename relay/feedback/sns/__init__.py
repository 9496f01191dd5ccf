"""What SNS posts: its form, whose it is, and whether SNS signed it (SES fact 5)."""
