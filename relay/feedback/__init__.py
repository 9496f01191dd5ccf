"""What became of mail once SES has it, and what follows from that."""
