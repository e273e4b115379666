"""Tests: this tree mirrors the package."""
