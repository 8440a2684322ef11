"""How Driftline calls other systems: safe addresses, the client, what an answer means."""
