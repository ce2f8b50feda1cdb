"""Fisher's iris data, and labelled data from CSV files (``csv_reader`` does not import torch)."""
