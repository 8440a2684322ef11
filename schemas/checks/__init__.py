"""Hard rules on data, one file a check; `schemas.checks.catalog` finds them."""
