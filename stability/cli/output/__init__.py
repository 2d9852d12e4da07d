"""What commands print and draw: tables, live progress, announcements, pictures."""
