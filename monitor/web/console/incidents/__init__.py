"""What the pages of incidents show and do."""
