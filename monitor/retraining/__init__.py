"""Retraining that is triggered once: proposals, their ledger, the runs, and whether they helped."""
