"""Watches of data quality, one file each: what is learned from the reference and kept within the budget.

`detectors.quality.catalog` finds them; `detectors.quality.watching` lets all of them judge a window.
"""
