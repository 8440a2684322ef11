"""A change of policy, tried on what is stored."""
