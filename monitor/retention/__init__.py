"""How long data is kept: counts are added up as they age, and what is too old is removed."""
