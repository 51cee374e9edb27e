"""Pure rules: errors, mapping models, types, changes, guards. No I/O, no clock, no Airflow, no pandas."""
