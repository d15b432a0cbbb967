//! Tests of what all mechanisms have in common.
