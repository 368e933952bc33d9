//! Tables, as markdown that is also legible as it is.

use std::io::{self, Write};

/// A table that is printed as a whole, because its columns are as wide as their widest cell.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Table {
        Table {
            rows: vec![header.iter().map(ToString::to_string).collect()],
        }
    }

    pub(crate) fn row(&mut self, name: &str, cells: impl IntoIterator<Item = String>) {
        let mut row = vec![name.to_owned()];
        row.extend(cells);
        self.rows.push(row);
    }

    pub(crate) fn print(&self) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|c| c.chars().count()).max().unwrap_or(0).max(3)
            })
            .collect();
        let line = |row: &[String]| {
            let cell = |(place, width): (usize, &usize)| {
                format!(" {:<width$} |", row.get(place).map_or("", String::as_str))
            };
            widths.iter().enumerate().map(cell).collect::<String>()
        };
        let mut out = io::stdout().lock();
        for (place, row) in self.rows.iter().enumerate() {
            writeln!(out, "|{}", line(row))?;
            if place == 0 {
                let rule: String = widths.iter().map(|w| "-".repeat(w + 2) + "|").collect();
                writeln!(out, "|{rule}")?;
            }
        }
        writeln!(out)
    }
}

/// A paragraph or a heading.
pub(crate) fn paragraph(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}\n")
}

/// A line for whoever waits; it is no part of the result.
pub(crate) fn progress(text: &str) -> io::Result<()> {
    writeln!(io::stderr(), "{text}")
}
