//! Tests of whole SCRAM exchanges.
