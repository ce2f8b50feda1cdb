"""The tutorial, section by section: what its text says against what is computed here."""
