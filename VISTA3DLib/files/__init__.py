"""Reading CTs and segmentations from files, and writing them."""
