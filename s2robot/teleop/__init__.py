"""Recording by people: devices, the session around them, and what is stored of it."""
