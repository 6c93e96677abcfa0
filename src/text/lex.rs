//! From characters to tokens.

use super::error::Fault;
use std::{borrow::Cow, fmt};

/// One token. Everything but a quoted text with escapes is a slice of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// A bare name: a letter or `_`, then letters, digits and `_`, and perhaps a `?` at the end.
    Name(&'t str),
    /// A quoted text, without its quotes and escapes.
    Quoted(Cow<'t, str>),
    /// A number as written: `-1`, `0.5`, `1e-6`, `-inf`. Unsigned `inf` and `nan` are names.
    Number(&'t str),
    /// Punctuation: one character, or `=>`.
    Mark(&'t str),
    /// The end of the text.
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Name(name) => write!(f, "the name `{name}`"),
            Token::Quoted(text) => write!(f, "the text \"{}\"", shortened(text)),
            Token::Number(number) => write!(f, "the number {}", shortened(number)),
            Token::Mark(mark) => write!(f, "`{mark}`"),
            Token::End => f.write_str("the end of the text"),
        }
    }
}

/// Reads tokens off a text.
pub(super) struct Lexer<'t> {
    text: &'t str,
    position: usize,
}

impl<'t> Lexer<'t> {
    pub fn new(text: &'t str) -> Self {
        Lexer { text, position: 0 }
    }

    /// Byte offset after the last token read.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The next token and the byte offset of its start.
    pub fn next(&mut self) -> Result<(usize, Token<'t>), Fault> {
        self.skip_blanks();
        let start = self.position;
        let token = match self.rest().chars().next() {
            None => Token::End,
            Some('"') => self.quoted()?,
            Some(c) if c.is_ascii_alphabetic() || c == '_' => Token::Name(self.name()),
            Some(c) if c.is_ascii_digit() || c == '-' => self.number()?,
            Some(_) => self.mark()?,
        };
        Ok((start, token))
    }

    fn rest(&self) -> &'t str {
        &self.text[self.position..]
    }

    /// The longest stretch of characters from here that all fit, consumed.
    fn take(&mut self, fits: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let length = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        self.position += length;
        &rest[..length]
    }

    fn name(&mut self) -> &'t str {
        let start = self.position;
        self.take(is_word);
        self.position += usize::from(self.rest().starts_with('?'));
        &self.text[start..self.position]
    }

    fn skip_blanks(&mut self) {
        self.take(is_blank);
        while self.rest().starts_with('#') {
            self.take(|c| c != '\n');
            self.take(is_blank);
        }
    }

    fn quoted(&mut self) -> Result<Token<'t>, Fault> {
        let open = self.position;
        let unclosed = || fault(open, "this text has no closing `\"`");
        self.position += 1;
        let mut text = Cow::Borrowed(self.take(is_plain));
        loop {
            let mut rest = self.rest().chars();
            match rest.next() {
                Some('"') => {
                    self.position += 1;
                    return Ok(Token::Quoted(text));
                }
                Some('\\') => {
                    let escaped = rest.next().ok_or_else(unclosed)?;
                    self.position += 1 + escaped.len_utf8();
                    text.to_mut().push(escaped);
                    text.to_mut().push_str(self.take(is_plain));
                }
                _ => return Err(unclosed()),
            }
        }
    }

    fn number(&mut self) -> Result<Token<'t>, Fault> {
        let start = self.position;
        self.position += usize::from(self.rest().starts_with('-'));
        if self.take(|c| c.is_ascii_alphabetic()).is_empty() {
            self.digits()?;
            if self.rest().starts_with('.') {
                self.position += 1;
                self.take(|c| c.is_ascii_digit());
            }
            if self.rest().starts_with(['e', 'E']) {
                self.position += 1;
                self.position += usize::from(self.rest().starts_with(['+', '-']));
                self.digits()?;
            }
        }
        let number = &self.text[start..self.position];
        let followed = self.rest().starts_with(|c| is_word(c) || c == '.');
        if followed || number.parse::<f64>().is_err() {
            self.take(|c| is_word(c) || c == '.');
            return Err(fault(
                start,
                format!("`{}` is not a number", &self.text[start..self.position]),
            ));
        }
        Ok(Token::Number(number))
    }

    fn digits(&mut self) -> Result<(), Fault> {
        match self.take(|c| c.is_ascii_digit()) {
            "" => Err(fault(self.position, "expected a digit")),
            _ => Ok(()),
        }
    }

    fn mark(&mut self) -> Result<Token<'t>, Fault> {
        let rest = self.rest();
        let length = match rest.as_bytes() {
            [b'=', b'>', ..] => 2,
            [b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>', ..] => 1,
            [b',' | b':' | b'=' | b'.' | b'@' | b'?', ..] => 1,
            _ => {
                let unexpected = rest.chars().next().unwrap_or_default();
                return Err(fault(
                    self.position,
                    format!(
                        "unexpected character {unexpected:?}: names with other characters than \
                         letters, digits and `_` are quoted, as in \"/fc/MatMul\""
                    ),
                ));
            }
        };
        self.position += length;
        Ok(Token::Mark(&rest[..length]))
    }
}

fn fault(at: usize, message: impl Into<String>) -> Fault {
    Fault { at, message: message.into() }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_plain(c: char) -> bool {
    c != '"' && c != '\\'
}

/// The start of a text, short enough for a message.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(40) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}
