"""The tenants of the system, and who belongs to them."""
