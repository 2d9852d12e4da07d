"""Reading and checking results tables: columns, units, groups, outcomes, policies."""
