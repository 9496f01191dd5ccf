"""Templates: texts in Liquid, and what becomes of them with variables. Their authors are strangers: all is bounded."""
