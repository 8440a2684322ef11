"""What is agreed on the columns of a model: read from data and other tools' files, compared, written."""
