"""The tutorial: its statements, checked section by section, and its figures."""
