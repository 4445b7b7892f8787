"""One file per provider; the file's name, `<channel>_<provider>.py`, is its registration."""
