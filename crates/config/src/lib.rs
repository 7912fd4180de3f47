//! The configuration of Holdfast: one file, validated once, errors with file, line, key, value and remedy.
