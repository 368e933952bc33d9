//! Lists across tables, page by page.

mod pages;
