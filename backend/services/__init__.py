"""Use cases, one file each: the only place where steps are put in order."""
