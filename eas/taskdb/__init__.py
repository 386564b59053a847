"""The task database: the only truth about jobs, tasks, attempts and file products."""
