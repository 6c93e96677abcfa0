//! ```text
//! experts ─ Gather(index) ─ w,  x ─ MatMul(w) ─ y, where index is computed   ⇒   kept
//! ```
//!
//! Experts whose weights are stored in one tensor, of which each token's router chooses, weights that a
//! condition chooses, parts of a matrix whose bounds are computed, a matrix in a computed shape, and weights that
//! are scaled by what is computed: `w` is in lower case, since it is another for each run.

use crate::{
    graph::{View, captured, facts},
    proto::tensor_shape_proto::dimension::Value::DimValue,
    rewrite::{Match, Reject, Rule},
};

pub(super) fn rules() -> [Rule; 2] {
    [
        Rule::refuse("chosen-matmul", "y = MatMul(x, w)", why),
        Rule::refuse("chosen-gemm", "y = Gemm(x, w, rest)", why),
    ]
}

fn why(m: &Match) -> Reject {
    let value = m.value("w");
    match varying(m, value) {
        Some(why) => Reject::Refuse(why),
        None => Reject::Miss(format!("`{value}` is not made of a stored tensor at run time")),
    }
}

/// Why a value that is taken from stored matrices, or is one that is scaled, is another for each run.
fn varying(m: &Match, value: &str) -> Option<String> {
    let (view, constants) = (m.view, m.constants);
    if constants.is_constant(value) {
        return None;
    }
    let varies = |what: String, instead: &str| {
        format!("its weight is {what} at run time, where a BitLinear has one weight ({instead})")
    };
    let chosen = |what: String| {
        varies(format!("{what} that is chosen"), "export experts as layers of their own")
    };
    let mut node = view.node(view.producer(value)?);
    let mut cut = false;
    loop {
        let of = node.standard();
        let scales = matches!(of, "Div" | "Mul") && node.inputs().any(|v| is_number(view, v));
        let held = match of {
            "Where" => node.inputs().skip(1).collect(),
            "If" => captured(node),
            _ if scales => node.inputs().collect(),
            _ => Vec::new(),
        };
        if let Some(matrix) = held.into_iter().find(|value| m.is_matrix(value)) {
            return Some(match scales {
                true => varies(
                    format!("`{matrix}` scaled by a number that is computed"),
                    "scale the product instead",
                ),
                false => chosen(format!("one of several, as `{matrix}`,")),
            });
        }
        cut |= facts::cuts(node);
        let passes = facts::cuts(node) || facts::passes(node) || of == "Transpose";
        let source = node.input.first().filter(|_| passes)?;
        if constants.is_constant(source) {
            let matrices = view.initializer(source).is_none_or(|tensor| tensor.dims.len() > 2);
            if cut && matrices {
                return Some(chosen(format!("a part of `{source}`")));
            }
            if facts::gathers(node) || !m.is_matrix(source) {
                return None;
            }
            return Some(match facts::cuts(node) {
                true => varies(
                    format!("a part of `{source}` with bounds that are computed"),
                    "store the part as a tensor of its own",
                ),
                false => varies(
                    format!("`{source}` in a form that is computed"),
                    "store it in that form",
                ),
            });
        }
        node = view.node(view.producer(source)?);
    }
}

/// Whether the file declares that a value has one element.
fn is_number(view: &View, value: &str) -> bool {
    let shape = view.declared(value).and_then(|declared| declared.shape.as_ref());
    shape.is_some_and(|shape| shape.dim.iter().all(|dim| dim.value == Some(DimValue(1))))
}
