//! Crash-safe fragmented-MP4 segment files: write, read, recover, verify, export.
