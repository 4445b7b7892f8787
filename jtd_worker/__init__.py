"""A worker that carries out Jobs To Do kept as rows in Postgres."""
