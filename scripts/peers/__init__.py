"""What gd_torch is measured against: each peer written the way its own users write it."""
