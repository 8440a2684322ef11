"""What the page of a model shows: one file for each kind of chart, for its table and for comparisons."""
