"""Many exports as one run: what swiftdeploy.toml pins is planned, made or taken from the cache, judged and reported."""
