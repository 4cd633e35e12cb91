"""The live side: the loop that watches programs, moves their pages, and puts them back."""
