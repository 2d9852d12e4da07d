"""The objective: built-in or a user's, the version of its code, and one attempt at a cohort."""
