//! `bitonnx.BitLinear` as a model-local function, so that any runtime runs the file.
//!
//! The body is written for the opset that the model imports, since runtimes inline it. Its product is
//! `MatMulInteger` of uint8 by uint8, the one form that ONNX Runtime has fast kernels for: codes have
//! the zero point 1, activations 128. A row that is not finite comes out as NaN by `x - x`, which is added
//! last of all: where the product's scale is a `Mul`, ONNX Runtime 1.24 to 1.32 fuse it with the bias after
//! it (MatMulIntegerToFloatFusion) into an operator that loses the bias.

use super::{Codes, DOMAIN, EPS};
use crate::{
    error::{Error, ErrorKind, Result},
    proto::{AttributeProto, FunctionProto, NodeProto, attribute_proto::AttributeType},
    text,
};

/// `Y = float(Σ q·t) · (scale · (g / 127))`, with X `[..., k]` quantised per row, `g = max(max |X|, eps)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BitLinear {
    /// `k`.
    pub in_features: usize,
    /// What no row's magnitude is less than.
    pub eps: f32,
}

impl BitLinear {
    /// The operator's name in ONNX.
    pub const NAME: &str = "BitLinear";

    /// Its inputs: a float of some type, uint8 `[n, ceil(k / 4)]`, and f32 `[1]` or `[n]`.
    pub const INPUTS: [&str; 3] = ["X", "codes", "scale"];

    /// Its attributes; `eps` may be left out.
    const ATTRIBUTES: [(&str, AttributeType); 2] =
        [("in_features", AttributeType::Int), ("eps", AttributeType::Float)];

    /// Reads a node. An error, as a sentence, where it has not what the operator asks for, or has more.
    pub fn read(node: &NodeProto) -> Result<Self, String> {
        let given = [node.inputs().count(), node.input.len(), node.outputs().count()];
        if given != [Self::INPUTS.len(), Self::INPUTS.len(), 1] {
            return Err("a BitLinear reads X, codes and scale, and makes Y".into());
        }
        let known = |name| Self::ATTRIBUTES.iter().any(|(known, _)| *known == name);
        if let Some(other) = node.attribute.iter().find(|a| !known(a.name())) {
            return Err(format!("a BitLinear has no such attribute as its `{}`", other.name()));
        }
        let in_features = node.int("in_features").ok_or("its integer `in_features` is missing")?;
        let eps = match node.attribute("eps") {
            None => EPS,
            Some(_) => node.float("eps").ok_or("its eps is no float")?,
        };
        match usize::try_from(in_features) {
            Ok(0) | Err(_) => Err(format!("its in_features is {in_features}")),
            _ if !(eps > 0.0 && eps.is_finite()) => Err(format!("its eps is {eps}")),
            Ok(in_features) => Ok(BitLinear { in_features, eps }),
        }
    }

    /// The node. It has no name yet.
    pub fn node(&self, inputs: [&str; 3], output: &str) -> NodeProto {
        let [features, eps] = Self::ATTRIBUTES.map(|(name, kind)| AttributeProto {
            name: Some(name.into()),
            r#type: Some(kind as i32),
            ..AttributeProto::default()
        });
        NodeProto {
            domain: Some(DOMAIN.into()),
            op_type: Some(Self::NAME.into()),
            input: inputs.map(String::from).into(),
            output: vec![output.into()],
            attribute: vec![
                AttributeProto { i: Some(self.in_features as i64), ..features },
                AttributeProto { f: Some(self.eps), ..eps },
            ],
            ..NodeProto::default()
        }
    }

    /// How many outputs it has with codes and scales of these dimensions. An error, as a sentence, where they
    /// do not belong to one another.
    pub fn outputs(&self, codes: &[usize], scale: &[usize]) -> Result<usize, String> {
        let row = Codes::row_bytes(self.in_features);
        match (codes, scale) {
            (&[n, bytes], &[scales]) if bytes == row && (scales == 1 || scales == n) => Ok(n),
            (&[n, bytes], &[scales]) if bytes == row => {
                Err(format!("there are {scales} scales for {n} outputs"))
            }
            _ => Err(format!(
                "its codes are {codes:?} and its scale {scale:?}, not [n, {row}], and [1] or [n]"
            )),
        }
    }

    /// The operator's definition for a model that imports this opset.
    pub fn definition(opset: i64) -> Result<FunctionProto> {
        if opset < MIN_OPSET {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("a model of opset {opset} can't hold a BitLinear"),
                format!("its definition needs operators of opset {MIN_OPSET}"),
                format!(
                    "export the model with opset {MIN_OPSET} or newer; 17 and 18 are well supported"
                ),
            ));
        }
        let body = body(opset);
        text::parse_function(&body).map_err(|e| {
            Error::new(
                ErrorKind::Bug,
                "BitLinear's definition is broken",
                e.to_string(),
                "report this as a bug",
            )
        })
    }
}

/// The opset in which `Round`, `BitShift` and `Clip` with inputs appeared.
const MIN_OPSET: i64 = 11;

fn body(opset: i64) -> String {
    // Axes became an input in 13 (Unsqueeze) and 18 (reductions).
    let (mean, max) = (reduce("ReduceMean", opset), reduce("ReduceMax", opset));
    let unsqueeze = match opset {
        ..13 => "Unsqueeze <axes = [-1]> (codes)",
        _ => "Unsqueeze (codes, last)",
    };
    // A Constant takes its value from an attribute of the function from 12 on.
    let (least, end) = match opset {
        ..12 => (
            "minus_one = Constant <value = float {-1.0}> ()
             below = LeakyRelu <alpha: float = @eps> (minus_one)
             least = Neg (below)",
            "shape = Shape (X)
             end = Gather (shape, last)",
        ),
        _ => (
            "least = Constant <value_float: float = @eps> ()",
            "features = Constant <value_int: int = @in_features> ()
             end = Reshape (features, one)",
        ),
    };
    let cast_back = if opset < 15 { "Identity (y)" } else { "CastLike (y, X)" };
    format!(
        r#"<domain: "{DOMAIN}", opset_import: ["": {opset}]>
        {name} <in_features, eps> (X, codes, scale) => (Y) {{
            last = Constant <value = int64[1] {{-1}}> ()
            x = Cast <to = 1> (X)
            magnitude = Abs (x)
            peak = {max} (magnitude{axes})
            {least}
            g = Max (peak, least)
            high = Constant <value = float {{127.0}}> ()
            low = Constant <value = float {{-128.0}}> ()
            factor = Div (high, g)
            scaled = Mul (x, factor)
            rounded = Round (scaled)
            clipped = Clip (rounded, low, high)
            offset = Constant <value = float {{128.0}}> ()
            shifted = Add (clipped, offset)
            q = Cast <to = 2> (shifted)
            nothing = Sub (x, x)
            invalid = {mean} (nothing{axes})
            step = Div (g, high)
            byte = {unsqueeze}
            up = Constant <value = uint8[4] {{6, 4, 2, 0}}> ()
            down = Constant <value = uint8 {{6}}> ()
            upper = BitShift <direction = "LEFT"> (byte, up)
            code = BitShift <direction = "RIGHT"> (upper, down)
            by_row = Constant <value = int64[2] {{0, -1}}> ()
            padded = Reshape (code, by_row)
            zero = Constant <value = int64[1] {{0}}> ()
            one = Constant <value = int64[1] {{1}}> ()
            {end}
            rows = Slice (padded, zero, end, one)
            columns = Transpose <perm = [1, 0]> (rows)
            q_zero = Constant <value = uint8 {{128}}> ()
            code_zero = Constant <value = uint8 {{1}}> ()
            sums = MatMulInteger (q, columns, q_zero, code_zero)
            product = Cast <to = 1> (sums)
            exact_scale = Mul (scale, step)
            row_scale = Add (exact_scale, invalid)
            y = Mul (product, row_scale)
            Y = {cast_back}
        }}"#,
        name = BitLinear::NAME,
        axes = if opset < 18 { "" } else { ", last" },
    )
}

fn reduce(op: &str, opset: i64) -> String {
    match opset {
        ..18 => format!("{op} <axes = [-1], keepdims = 1>"),
        _ => format!("{op} <keepdims = 1>"),
    }
}
