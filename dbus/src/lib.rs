//! The D-Bus contract of Holdfast: types and client proxies.
