"""The deployment against moto's server; `make smoke-deploy` runs these, `make test` doesn't."""
