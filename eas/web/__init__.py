"""The read-only web application: every job, task, file and log in the browser."""
