"""The operating system: guarded file access, locks, ownership, processes, interrupts."""
