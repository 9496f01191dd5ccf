"""The SMTP edge."""
