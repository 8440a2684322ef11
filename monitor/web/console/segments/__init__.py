"""Maps of segments over time: which part of the rows is worst, and when."""
