//! Small state that survives power cuts: checksummed, append-only postcard records.
