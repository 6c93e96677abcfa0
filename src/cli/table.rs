//! Aligned columns.

use super::console::Console;
use anstyle::Style;
use std::io::{self, Write};

/// Rows of text under a header.
///
/// The first column holds names: it is shortened in the middle where the terminal is too narrow.
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<(Style, Vec<String>)>,
}

/// To which side a column's text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// What stands between two columns.
const GAP: &str = "  ";

/// Names are not shortened below this.
const LEAST_NAME: usize = 24;

/// So much of the last column must fit: it may hold sentences, which wrap.
const LAST_SHOWN: usize = 12;

impl Table {
    /// An empty table.
    pub fn new(columns: impl Into<Vec<(&'static str, Align)>>) -> Self {
        Table { columns: columns.into(), rows: Vec::new() }
    }

    /// Adds a row with as many cells as there are columns.
    pub fn row(&mut self, style: Style, cells: impl Into<Vec<String>>) {
        let cells = cells.into();
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push((style, cells));
    }

    /// Prints the table, as narrow as the terminal where that is possible.
    pub fn print(self, console: &mut Console) -> io::Result<()> {
        let width = console.width();
        self.write(console.out(), width)
    }

    fn write(mut self, out: &mut dyn Write, width: Option<usize>) -> io::Result<()> {
        self.shorten_names(width);
        let widths = self.widths();
        let header = self.columns.iter().map(|(title, _)| *title);
        self.line(out, Style::new().bold(), header, &widths)?;
        let mut rows = self.rows.iter();
        rows.try_for_each(|(style, cells)| {
            self.line(out, *style, cells.iter().map(String::as_str), &widths)
        })
    }

    fn shorten_names(&mut self, width: Option<usize>) {
        let mut widths = self.widths();
        if let Some(last) = widths.last_mut() {
            *last = LAST_SHOWN.min(*last);
        }
        let total = widths.iter().map(|w| GAP.len() + w).sum::<usize>() - GAP.len();
        let excess = width.map_or(0, |width| total.saturating_sub(width));
        let room = widths[0].saturating_sub(excess).max(LEAST_NAME);
        for name in self.rows.iter_mut().filter_map(|(_, cells)| cells.first_mut()) {
            *name = shorten(name, room);
        }
    }

    fn widths(&self) -> Vec<usize> {
        let width = |(i, (title, _)): (usize, &(&str, Align))| {
            let cells = self.rows.iter().filter_map(|(_, cells)| cells.get(i));
            cells.map(|cell| cell.chars().count()).chain([title.chars().count()]).max().unwrap_or(0)
        };
        self.columns.iter().enumerate().map(width).collect()
    }

    fn line<'c>(
        &self,
        out: &mut dyn Write,
        style: Style,
        cells: impl Iterator<Item = &'c str>,
        widths: &[usize],
    ) -> io::Result<()> {
        let mut text = String::new();
        for ((cell, width), (_, align)) in cells.zip(widths).zip(&self.columns) {
            if !text.is_empty() {
                text.push_str(GAP);
            }
            match align {
                Align::Left => text.push_str(&format!("{cell:<width$}")),
                Align::Right => text.push_str(&format!("{cell:>width$}")),
            }
        }
        writeln!(out, "{style}{}{style:#}", text.trim_end())
    }
}

/// The text with its middle left out where it has more than `room` characters.
fn shorten(text: &str, room: usize) -> String {
    let length = text.chars().count();
    if length <= room {
        return text.to_owned();
    }
    let head = (room - 1) / 2;
    let tail = room - 1 - head;
    text.chars().take(head).chain(['…']).chain(text.chars().skip(length - tail)).collect()
}

/// So many of these: `1 thread`, `2 threads`.
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Bytes as people read them: `1.3 MiB`.
pub fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    for unit in ["KiB", "MiB", "GiB"] {
        value /= 1024.0;
        if value < 999.95 {
            return format!("{value:.1} {unit}");
        }
    }
    format!("{:.1} TiB", value / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_decimal_and_never_four_digits() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1_023_900, "999.9 KiB"),
            (1_048_576, "1.0 MiB"),
            (4_617_089_843, "4.3 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn names_are_shortened_in_the_middle() {
        assert_eq!(shorten("abcdefghij", 10), "abcdefghij");
        assert_eq!(shorten("abcdefghijk", 10), "abcd…ghijk");
        assert_eq!(shorten("äöüäöüäöüäö", 5), "äö…äö");
    }

    #[test]
    fn names_give_way_to_a_narrow_terminal() {
        let mut table = Table::new([("NAME", Align::Left), ("WHY", Align::Left)]);
        table.row(Style::new(), ["n".repeat(50), "to 1.0 KiB".into()]);
        table.row(Style::new(), ["m".repeat(20), "no: a sentence that wraps".into()]);
        let mut text = Vec::new();
        table.write(&mut anstream::StripStream::new(&mut text), Some(50)).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        // 36 + 2 + 12 columns.
        assert_eq!(lines[1], format!("{}…{}  to 1.0 KiB", "n".repeat(17), "n".repeat(18)));
        assert_eq!(
            lines[2],
            format!("{}{}no: a sentence that wraps", "m".repeat(20), " ".repeat(18))
        );
    }

    #[test]
    fn numbers_line_up_on_the_right() {
        let mut table = Table::new([("NAME", Align::Left), ("N", Align::Right)]);
        table.row(Style::new(), ["a".into(), "7".into()]);
        table.row(Style::new(), ["bcdef".into(), "100".into()]);
        let mut text = Vec::new();
        table.write(&mut anstream::StripStream::new(&mut text), None).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "NAME     N\na        7\nbcdef  100\n");
    }
}
