//! threadline-cli
