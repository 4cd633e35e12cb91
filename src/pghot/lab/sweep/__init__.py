"""Studies: many comparisons over axes of recordings, tiers, sizes and seeds, in many processes, kept in a folder."""
