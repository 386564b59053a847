from tests.services import database_url, empty_mariadb, queue_prefix, shared_mariadb

__all__ = ["database_url", "empty_mariadb", "queue_prefix", "shared_mariadb"]
