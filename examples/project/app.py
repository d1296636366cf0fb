def find_user(cursor, name):
    """Return the user of that name."""
    cursor.execute(f"SELECT * FROM users WHERE name = '{name}'")
    return cursor.fetchone()
