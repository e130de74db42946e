"""Another version of a model without a gap."""
