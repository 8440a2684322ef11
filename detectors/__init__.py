"""The mathematics of drift: profiles, comparisons, sequential tests, performance estimation."""
