"""Instruments that judge views, and pages that show them."""
