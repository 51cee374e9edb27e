"""Pages inside Airflow's own interface and login, below `/synchronisation/`."""
