"""What Linux shows and does: one file for each kernel interface, readable by its kernel name."""
