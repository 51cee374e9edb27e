"""A stand-in for Google Sheets, Drive and OAuth on this machine: real HTTP, for demos, tests and users' own CI.

Start it with `airflow-sync sandbox`, or `server.Sandbox` in a test. It imports nothing of the package but `core`.
"""
