"""A stand-in for SES and its neighbours, for the demo, tests and drills."""
