"""Workers: claim attempts, run them in a child process, judge and record the results."""
