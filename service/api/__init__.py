"""One file a resource; a handler guards, parses, makes one call, returns."""
