"""Everything that is kept: SQL tables, migrations, and the transactions over them."""
