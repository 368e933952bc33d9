//! threadline-derive
