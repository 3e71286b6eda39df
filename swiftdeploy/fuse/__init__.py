"""Exact rewrites of a captured graph, each with its algebra, and the ledger of what fired."""
