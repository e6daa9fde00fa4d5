"""Figures: charts, pictures and what notebooks show."""
