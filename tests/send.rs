//! The tool `send`: what its flags do, and what it tells.
