//! threadline
