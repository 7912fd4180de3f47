//! Frame numbers burnt into pictures, for people and machines to read back.
