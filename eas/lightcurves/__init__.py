"""Light curves as numpy arrays: files, resampling, statistics."""
