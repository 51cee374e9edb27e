"""Tables and queries of SQL databases: SQLite and PostgreSQL by bulk paths, others through SQLAlchemy.

::

    connector.py   the protocol; puts the rest together
    engine_url.py  Airflow connection → how to reach the database
    faults.py      driver errors → SyncErrors, and the row-level ones that a write isolates
    catalog.py     tables and columns as the database knows them; every name is checked here before it is quoted
    values.py      cells ↔ canonical text
    fitting.py     which types fit which columns, and which values do not
    statements.py  the SQL of a write
    writing.py     staging, compare before write, isolation of refused records, verification
    reading.py     raw batches from result columns
    database.py    what a kind of database offers to the above; one module per kind beside it
"""
