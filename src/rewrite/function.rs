//! `bitonnx.BitLinear` as a model-local function, so that any runtime runs the file.
//!
//! The body is written for the opset that the model imports, since runtimes inline it. Its product is
//! `MatMulInteger` of uint8 by uint8, the one form that ONNX Runtime has fast kernels for: codes have
//! the zero point 1, activations 128. A row that is not finite comes out as NaN by `x - x`, which is added
//! last of all: where the product's scale is a `Mul`, ONNX Runtime 1.24 to 1.32 fuse it with the bias after
//! it (MatMulIntegerToFloatFusion) into an operator that loses the bias.

use crate::{
    error::{Error, ErrorKind, Result},
    proto::FunctionProto,
    text,
};

/// The domain of our operators.
pub const DOMAIN: &str = "bitonnx";

/// The version of [`DOMAIN`] that this crate writes.
pub const DOMAIN_VERSION: i64 = 1;

/// The name of the operator.
pub const BIT_LINEAR: &str = "BitLinear";

/// The opset in which `Round`, `BitShift` and `Clip` with inputs appeared.
const MIN_OPSET: i64 = 11;

/// The operator's definition for a model that imports this opset.
pub fn bit_linear(opset: i64) -> Result<FunctionProto> {
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
        {BIT_LINEAR} <in_features, eps> (X, codes, scale) => (Y) {{
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
        axes = if opset < 18 { "" } else { ", last" },
    )
}

fn reduce(op: &str, opset: i64) -> String {
    match opset {
        ..18 => format!("{op} <axes = [-1], keepdims = 1>"),
        _ => format!("{op} <keepdims = 1>"),
    }
}
