"""What scripts/check_faults.py does to real runs; tests/test_faults.py does it in small numbers."""
