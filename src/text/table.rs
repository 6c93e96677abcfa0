//! Stored tensors as rows with aligned columns.

use super::{
    data::Data,
    names::{name, stored_type},
};
use crate::proto::TensorProto;

/// A tensor in the short style: `float[256, 64] w1  64 KiB  #5f1c9a02`.
pub(super) struct Row {
    declaration: String,
    number: String,
    unit: &'static str,
    content: String,
}

impl Row {
    /// Data of at most so many literals are shown themselves.
    pub fn of(tensor: &TensorProto, literals: usize) -> Self {
        let declaration =
            format!("{} {}", stored_type(tensor.data_type(), &tensor.dims), name(tensor.name()));
        let data = Data::of(tensor);
        let (number, unit) = data.size().map_or_else(Default::default, size);
        let mut content = String::new();
        data.write_short(&mut content, literals);
        Row { declaration, number, unit, content }
    }

    /// The row, its columns at least as wide as asked.
    pub fn text(&self, widths: Widths) -> String {
        let Row { declaration, number, unit, content } = self;
        let Widths { declaration: declared, number: numbers } = widths;
        format!("{declaration:<declared$}  {number:>numbers$} {unit:<3}  {content}")
    }
}

/// Widths of the columns in characters.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Widths {
    declaration: usize,
    number: usize,
}

impl Widths {
    /// Wide enough for all rows, but for declarations longer than most.
    pub fn of<'r>(rows: impl IntoIterator<Item = &'r Row>) -> Self {
        rows.into_iter().fold(Widths::default(), |widths, row| Widths {
            declaration: widths.declaration.max(row.declaration.chars().count()).min(WIDEST),
            number: widths.number.max(row.number.len()),
        })
    }
}

/// Characters of the widest declaration that the others line up with.
const WIDEST: usize = 72;

/// A number of bytes in the largest unit that leaves at least one: `64`, `KiB`.
fn size(bytes: usize) -> (String, &'static str) {
    let units = ["B", "KiB", "MiB", "GiB"];
    let scale = (bytes.max(1).ilog2() / 10).min(3);
    let divisor = 1usize << (10 * scale);
    let number = match bytes % divisor {
        0 => (bytes / divisor).to_string(),
        _ => format!("{:.1}", bytes as f64 / divisor as f64),
    };
    (number, units[scale as usize])
}
