//! Where a text went wrong, shown with the line itself.

use std::fmt;

/// A text that is not ONNX's syntax: where, and what was expected there.
///
/// `Display` shows the place, the message and the line with a caret under the fault:
///
/// ```text
/// line 1, column 20: expected `,` or `)`, found the name `z`
///   |
/// 1 | y = MatMul(x, q, w z)
///   |                    ^
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    line: usize,
    column: usize,
    excerpt: String,
    caret: usize,
    message: String,
}

impl ParseError {
    /// The error of a fault in a text.
    pub(super) fn new(text: &str, fault: Fault) -> Self {
        let before = text.get(..fault.at).unwrap_or(text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line_text = text[start..].lines().next().unwrap_or("");
        let column = before[start..].chars().count();
        let cut = column.saturating_sub(EXCERPT_BEFORE);
        ParseError {
            line: before.matches('\n').count() + 1,
            column: column + 1,
            excerpt: excerpt(line_text, cut),
            caret: column - cut + usize::from(cut > 0),
            message: fault.message,
        }
    }

    /// The line of the fault, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column of the fault in characters, counted from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// What was expected, and what was there.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        // Tabs stay tabs, so that the caret stands under its character however wide they are.
        let indent: String = self
            .excerpt
            .chars()
            .chain(std::iter::repeat(' '))
            .take(self.caret)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        writeln!(f, "line {}, column {}: {}", self.line, self.column, self.message)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{}", format!("{number} | {}", self.excerpt).trim_end())?;
        write!(f, "{margin} | {indent}^")
    }
}

impl std::error::Error for ParseError {}

/// A fault at a byte offset of the text being parsed.
#[derive(Debug)]
pub(super) struct Fault {
    /// Byte offset.
    pub at: usize,
    /// What was expected, and what was there.
    pub message: String,
}

/// Characters of a long line that are shown before the fault.
const EXCERPT_BEFORE: usize = 80;
/// Characters of a long line that are shown in all.
const EXCERPT: usize = 120;

/// The part of a line from character `cut` on, with marks where something was left off.
fn excerpt(line: &str, cut: usize) -> String {
    let mut rest = line.chars().skip(cut);
    let mut shown = String::from(if cut > 0 { "…" } else { "" });
    shown.extend(rest.by_ref().take(EXCERPT));
    if rest.next().is_some() {
        shown.push('…');
    }
    shown
}
