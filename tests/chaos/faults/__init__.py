"""One file for each part of the system that fails; a fault mends what it broke before it returns."""
