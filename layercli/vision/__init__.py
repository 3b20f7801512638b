"""What looks at pictures: feature nets."""
