"""Fisher's iris data, and the reader of CSV files, which does not import torch."""
