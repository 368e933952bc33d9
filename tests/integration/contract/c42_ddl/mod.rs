//! C42: whatever DDL does to an audited table, answers are the truth, or *unknown*.

mod cases;
mod property;
mod recorder;
mod truth;
