//! What values compute of others, in many spellings, and in look-alikes of each.

use crate::graphs::model;
use bitonnx::{
    array::Array,
    graph::{Constants, View},
    proto::ModelProto,
    values::norm,
};

/// A graph from `x`, of 8 features, to `y`, at this opset and with these initializers.
fn graph(opset: i64, x: &str, stored: &str, nodes: &str) -> ModelProto {
    let domains = format!(r#"["" : {opset}, "com.microsoft" : 1]"#);
    model(&format!(
        "<ir_version: 9, opset_import: {domains}>
         g ({x}) => (float[b, s, 8] y) <
           float[8] w, float[8] v, float[1, 1, 8] w3, float one = {{1.0}}, float two = {{2.0}}, float half = {{0.5}},
           float minus_half = {{-0.5}}, float minus_one = {{-1.0}}, float zero = {{0.0}}, float eps = {{1e-5}}, float small = {{1e-12}},
           float eight = {{8.0}}, float root = {{2.828427}}, float seven = {{7.0}}, float eighth = {{0.125}}, int64[1] last = {{-1}},
           float[8, 1] ones = {{0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125, 0.125}}{stored}
         > {{ {nodes} }}"
    ))
}

const X: &str = "float[b, s, 8] x";

/// What a norm is in a word: exact, a norm, or none.
fn kind(model: &ModelProto) -> String {
    let view = View::of(model).unwrap();
    let constants = Constants::new(&view);
    let Some(norm) = norm(&view, &constants, "y", Some(8)) else { return "none".into() };
    let Some(Array::F32(w)) = constants.value("w").ok() else { panic!() };
    let is = |wanted: &mut dyn FnMut(usize) -> f32| {
        norm.gain.iter().enumerate().all(|(i, g)| (g - wanted(i)).abs() <= 1e-6 * g.abs())
    };
    let gain = if is(&mut |_| 1.0) {
        "1"
    } else if is(&mut |i| w[i]) {
        "w"
    } else if is(&mut |i| 1.0 + w[i]) {
        "1 + w"
    } else {
        "?"
    };
    format!(
        "{} of {}, gain {gain}{}{}",
        if norm.rms {
            "rms"
        } else if norm.centred {
            "layer"
        } else {
            "norm"
        },
        norm.input,
        if norm.shift.is_empty() { "" } else { ", shift" },
        norm.eps.map_or(String::new(), |eps| format!(", eps {eps:.0e}")),
    )
}

#[test]
fn norms() {
    let mut wrong = Vec::new();
    let square = "s = Pow (x, two) m = ReduceMean <axes = [-1]> (s)";
    let centre = "c = ReduceMean <axes = [-1]> (x) d = Sub (x, c)";
    let variance = "q = Mul (d, d) m = ReduceMean <axes = [-1]> (q)";
    for (want, nodes) in [
        // The root mean square.
        ("rms of x, gain w, eps 1e-5", format!("{square} e = Add (m, eps) r = Sqrt (e) u = Div (x, r) y = Mul (u, w)")),
        ("rms of x, gain w, eps 1e-5", format!("{square} e = Add (m, eps) r = Pow (e, minus_half) u = Mul (x, r) y = Mul (w, u)")),
        ("rms of x, gain w, eps 1e-5", format!("{square} e = Add (m, eps) r = Sqrt (e) i = Reciprocal (r) u = Mul (x, i) y = Mul (w, u)")),
        ("rms of x, gain w, eps 1e-5", format!("{square} e = Add (m, eps) r = Pow (e, half) i = Div (one, r) u = Mul (i, w) y = Mul (x, u)")),
        ("rms of x, gain w, eps 1e-5", format!("{square} e = Add (m, eps) l = Log (e) h = Mul (l, minus_half) i = Exp (h) u = Mul (i, x) y = Mul (u, w)")),
        ("rms of x, gain 1 + w, eps 1e-5", format!("{square} e = Add (m, eps) r = Sqrt (e) u = Div (x, r) g = Add (one, w) y = Mul (u, g)")),
        ("rms of x, gain 1 + w, eps 1e-5", format!("{square} e = Add (m, eps) r = Sqrt (e) u = Div (x, r) g = Mul (u, w) y = Add (u, g)")),
        ("rms of x, gain w, eps 1e-5", "s = Mul (x, x) t = ReduceSum <keepdims = 1> (s, last) m = Div (t, eight) e = Add (m, eps) r = Sqrt (e) u = Div (x, r) y = Mul (u, w)".into()),
        ("rms of x, gain w, eps 1e-5", "s = Mul (x, x) t = ReduceSum (s, last) h = Shape (x) n = Gather (h, last) f = Cast <to = 1> (n) m = Div (t, f) e = Add (m, eps) r = Sqrt (e) u = Div (x, r) y = Mul (u, w)".into()),
        ("rms of x, gain w, eps 1e-5", "t = ReduceSumSquare <axes = [2]> (x) m = Mul (t, eighth) e = Add (m, eps) r = Sqrt (e) u = Div (x, r) y = Mul (u, w)".into()),
        ("rms of x, gain w, eps 1e-5", "s = Mul (x, x) m = MatMul (s, ones) e = Add (m, eps) r = Sqrt (e) u = Div (x, r) y = Mul (u, w)".into()),
        ("rms of x, gain w, eps 1e-5", "s = Mul (x, x) m = ReduceMean <axes = [-1], keepdims = 0> (s) e = Add (m, eps) r = Sqrt (e) k = Unsqueeze (r, last) u = Div (x, k) y = Mul (u, w)".into()),
        ("rms of x, gain w, eps 1e-5", format!("{square} e = Max (m, zero) a = Add (e, eps) r = Sqrt (a) k = Cast <to = 10> (r) j = Cast <to = 1> (k) u = Div (x, j) y = Mul (u, w)")),
        ("rms of x, gain ?, eps 1e-5", format!("{square} e = Add (m, eps) r = Sqrt (e) u = Div (x, r) g = Mul (u, w3) h = Identity (g) o = Dropout (h) y = Cast <to = 1> (o)")),
        ("rms of x, gain 1, eps 0e0", "n = ReduceL2 <axes = [-1]> (x) u = Div (x, n) y = Mul (u, root)".into()),
        ("rms of x, gain 1, eps 0e0", "u = LpNormalization <axis = -1, p = 2> (x) y = Mul (u, root)".into()),
        ("rms of x, gain w, eps 1e-5", "y = RMSNormalization <axis = -1, epsilon = 1e-5> (x, w)".into()),
        ("rms of x, gain w, eps 1e-6", "y = SimplifiedLayerNormalization <epsilon = 1e-6> (x, w)".into()),
        // The same but for eps.
        ("norm of x, gain 1", "n = ReduceL2 <axes = [-1]> (x) c = Clip (n, small) h = Shape (x) e = Expand (c, h) u = Div (x, e) y = Mul (u, root)".into()),
        ("norm of x, gain w", format!("{square} r = Sqrt (m) e = Add (r, eps) u = Div (x, e) y = Mul (u, w)")),
        ("norm of x, gain w", format!("{square} e = Max (m, eps) r = Sqrt (e) u = Div (x, r) y = Mul (u, w)")),
        // Other sizes of a row.
        ("norm of x, gain ?", "n = ReduceL1 <axes = [-1]> (x) y = Div (x, n)".into()),
        ("norm of x, gain ?", "a = Abs (x) n = ReduceMax <axes = [-1]> (a) e = Max (n, eps) y = Div (x, e)".into()),
        // Without the mean.
        ("layer of x, gain w, shift, eps 1e-5", format!("{centre} {variance} e = Add (m, eps) r = Sqrt (e) u = Div (d, r) g = Mul (u, w) y = Add (g, v)")),
        ("layer of x, gain w, shift, eps 1e-5", format!("{centre} {variance} e = Add (m, eps) r = Sqrt (e) i = Reciprocal (r) f = Mul (i, w) a = Mul (x, f) n = Mul (c, f) z = Sub (v, n) y = Add (a, z)")),
        ("layer of x, gain w, eps 1e-5", format!("{centre} q = Mul (x, x) p = ReduceMean <axes = [-1]> (q) o = Mul (c, c) m = Sub (p, o) e = Add (m, eps) r = Sqrt (e) u = Div (d, r) y = Mul (u, w)")),
        ("layer of x, gain ?, shift", format!("{centre} q = Mul (d, d) t = ReduceSum (q, last) m = Div (t, seven) r = Sqrt (m) e = Add (r, eps) u = Div (d, e) g = Mul (u, w) y = Add (g, v)")),
        ("layer of x, gain w, shift, eps 1e-5", "y = LayerNormalization (x, w, v)".into()),
        ("layer of x, gain 1", "y = MeanVarianceNormalization <axes = [-1]> (x)".into()),
        ("layer of f, gain w, shift, eps 1e-6", "h = Shape (x) f = Reshape (x, flat) u = GroupNormalization <num_groups = 1, epsilon = 1e-6> (f, w, v) y = Reshape (u, h)".into()),
        ("layer of x, gain w, eps 1e-5", "h = Shape (x) f = Reshape (x, rows) u = InstanceNormalization (f, unit, none) t = Reshape (u, h) y = Mul (t, w)".into()),
        // The sum that is normalised is the input, where it has a name.
        ("norm of x, gain w, eps 1e-12", "a = Mul (x, two) y, n1, n2 = com.microsoft.SkipSimplifiedLayerNormalization (x, a, w)".into()),
        ("rms of t, gain w, eps 1e-5", "a = Mul (x, two) y, n1, n2, t = com.microsoft.SkipSimplifiedLayerNormalization <epsilon = 1e-5> (x, a, w, v)".into()),
        ("layer of t, gain w, shift, eps 1e-12", "a = Mul (x, two) y, n1, n2, t = com.microsoft.SkipLayerNormalization (x, a, w, v, v)".into()),
        // No norm of the row.
        ("none", "y = Tanh (x)".into()),
        ("none", "y = Softmax <axis = -1> (x)".into()),
        ("none", "y = Mul (x, w)".into()),
        ("none", "s = Pow (x, two) m = ReduceMean <axes = [1]> (s) r = Sqrt (m) y = Div (x, r)".into()),
        ("none", "s = Pow (x, two) m = ReduceMean <axes = [1, 2]> (s) r = Sqrt (m) y = Div (x, r)".into()),
        ("none", "s = Pow (x, two) m = ReduceMean (s) r = Sqrt (m) y = Div (x, r)".into()),
        ("none", format!("{square} e = Add (m, one) u = Div (x, e) y = Mul (u, w)")),
        ("none", format!("{square} y = Mul (x, m)")),
        ("none", "f = Reshape (x, heads) s = Mul (f, f) m = ReduceMean <axes = [-1]> (s) r = Sqrt (m) u = Div (f, r) h = Shape (x) y = Reshape (u, h)".into()),
    ] {
        let stored = ", int64[2] flat = {-1, 8}, int64[3] rows = {-1, 1, 8}, int64[4] heads = {0, 0, 2, 4}, float[1] unit = {1.0}, float[1] none = {0.0}";
        let found = kind(&graph(17, X, stored, &nodes));
        if found != want { wrong.push(format!("{nodes}\n    {found}, not {want}")); }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
