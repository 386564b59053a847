from tests.services import database_url, empty_mariadb, shared_mariadb

__all__ = ["database_url", "empty_mariadb", "shared_mariadb"]
