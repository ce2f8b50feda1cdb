"""What gd_torch is measured against: each baseline written the way its own users write it."""
