"""What a bottle holds before its test starts: steps as data, and one batch that performs them."""
