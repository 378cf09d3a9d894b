"""What the site is built of besides pages: pictures, and the reference."""
