"""The demo: real flights of 2013, a small delay model and a few planted faults through the whole service."""
