"""What MONAI Label runs: inference, training, scoring and the choice of the next scan."""
