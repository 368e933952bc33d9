//! C42: whatever DDL does to an audited table, answers are the truth, or *unknown*.

mod case;
mod columns;
mod guard;
mod property;
mod recorder;
mod rows;
mod truth;
