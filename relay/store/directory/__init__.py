"""Who may send, as whom, through which account: tenants, SES accounts, domains and keys, and every change of them."""
