"""What the core decides: whose mail it is, who may send and receive, where it goes."""
