"""`airflow-sync keys`: the keys of the store and of rejected records."""

from __future__ import annotations

import click

from sync_provider.cli.session import Session, common_options, pass_session


@click.group()
@common_options
def keys() -> None:
    """Encryption keys of the store and of rejected records."""


@keys.command()
@common_options
@pass_session
def new(session: Session) -> None:
    """Print a fresh key for [sync_provider] encryption_keys; it is kept nowhere.

    Put it first in the list to encrypt with it from now on, and keep the older ones behind it to read what they wrote.
    """
    from sync_provider.engine.crypto import Cipher, new_key

    key = new_key()
    session.answer({"key": key, "id": Cipher([key]).key_ids[0]}, key)
