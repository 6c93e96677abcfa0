//! The equations of `Einsum`.

/// Which axes an `Einsum` multiplies and sums: a letter for each axis of each operand and of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equation {
    /// The axes of each operand; [`REST`](Self::REST) for those that an ellipsis stands for.
    pub terms: Vec<Vec<char>>,
    /// The axes of the result.
    pub output: Vec<char>,
}

impl Equation {
    /// What stands for an ellipsis.
    pub const REST: char = '…';

    /// Reads an equation. Where it has no arrow, the result has the letters that occur once, in the order
    /// of the alphabet, after the ellipsis.
    pub fn parse(text: &str) -> Option<Self> {
        let text: String = text.split_whitespace().collect();
        let text = text.replace("...", "…");
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (&*text, None),
        };
        let terms: Vec<Vec<char>> = left.split(',').map(axes).collect::<Option<_>>()?;
        let output = match right {
            Some(right) => axes(right)?,
            None => {
                let mut once: Vec<char> = terms.concat();
                once.sort_by_key(|axis| (*axis != Self::REST, *axis));
                let groups = once.chunk_by(|a, b| a == b);
                groups.filter(|g| g.len() == 1 || g[0] == Self::REST).map(|g| g[0]).collect()
            }
        };
        Some(Equation { terms, output })
    }
}

/// The axes of one term, none of which may be another character than a letter.
fn axes(term: &str) -> Option<Vec<char>> {
    term.chars().map(|c| (c.is_ascii_alphabetic() || c == Equation::REST).then_some(c)).collect()
}
