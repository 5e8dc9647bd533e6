"""A project as users write it, with a thousand tests that each have a broker, and what it costs them."""
