"""Architectures as plain nn.Modules, one a file, and the catalog that lists them. Installed as `swiftdeploy_models`."""
