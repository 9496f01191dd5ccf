"""What an operator or a tenant does to the directory, where that needs SES or the DNS besides the store."""
