#![no_std]
//! Wire types.
