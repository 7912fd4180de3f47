//! Other people's writers.
