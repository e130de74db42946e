"""A plan → one atomic switch: how builds of one repository stay out of each other's way."""
