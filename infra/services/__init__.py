"""Private MariaDB and RabbitMQ servers on loopback, for tests, benchmarks and experiments."""
