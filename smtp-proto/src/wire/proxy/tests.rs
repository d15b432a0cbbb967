//! PROXY headers.
