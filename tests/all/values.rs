//! What values compute of others, in many spellings, and in look-alikes of each.

use crate::graphs::model;
use bitonnx::{
    graph::{GraphId, Graphs},
    proto::ModelProto,
    values::{NotQuantized, is_activated, norm, quantized, softmax},
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

/// Everything that is not as it should be, told at the end.
#[derive(Default)]
struct Wrong(Vec<String>);

impl Wrong {
    fn check(&mut self, found: String, want: &str, of: &str) {
        if found != want {
            self.0.push(format!("{of}\n    {found}, not {want}"));
        }
    }
}

impl Drop for Wrong {
    fn drop(&mut self) {
        assert!(self.0.is_empty(), "{}", self.0.join("\n"));
    }
}

const X: &str = "float[b, s, 8] x";
/// The same beside the tokens that it is made of.
const WITH_IDS: &str = "float[b, s, 8] x, int64[b, s] ids";

/// What a value is the norm of, and its parameters.
fn kind(model: &ModelProto) -> String {
    let graphs = Graphs::of(model);
    match norm(graphs.main(), &graphs.constants(GraphId::MAIN), "y", Some(8)) {
        Some(norm) => [vec![norm.input.unwrap_or("a sum")], norm.parameters].concat().join(" "),
        None => "none".into(),
    }
}

#[test]
fn norms() {
    let mut wrong = Wrong::default();
    let square = "s = Pow (x, two) m = ReduceMean <axes = [-1]> (s)";
    let centre = "c = ReduceMean <axes = [-1]> (x) d = Sub (x, c)";
    let variance = "q = Mul (d, d) m = ReduceMean <axes = [-1]> (q)";
    for (want, nodes) in [
        // The root mean square.
        ("x w", format!("{square} e = Add (m, eps) r = Sqrt (e) u = Div (x, r) y = Mul (u, w)")),
        ("x w", format!("{square} e = Add (m, eps) r = Pow (e, minus_half) u = Mul (x, r) y = Mul (w, u)")),
        ("x w", format!("{square} e = Add (m, eps) r = Sqrt (e) i = Reciprocal (r) u = Mul (x, i) y = Mul (w, u)")),
        ("x w", format!("{square} e = Add (m, eps) r = Pow (e, half) i = Div (one, r) u = Mul (i, w) y = Mul (x, u)")),
        ("x w", format!("{square} e = Add (m, eps) l = Log (e) h = Mul (l, minus_half) i = Exp (h) u = Mul (i, x) y = Mul (u, w)")),
        ("x w", format!("{square} e = Add (m, eps) r = Sqrt (e) u = Div (x, r) g = Add (one, w) y = Mul (u, g)")),
        ("x w", format!("{square} e = Add (m, eps) r = Sqrt (e) u = Div (x, r) g = Mul (u, w) y = Add (u, g)")),
        ("x w", "s = Mul (x, x) t = ReduceSum <keepdims = 1> (s, last) m = Div (t, eight) e = Add (m, eps) r = Sqrt (e) u = Div (x, r) y = Mul (u, w)".into()),
        ("x w", "s = Mul (x, x) t = ReduceSum (s, last) h = Shape (x) n = Gather (h, last) f = Cast <to = 1> (n) m = Div (t, f) e = Add (m, eps) r = Sqrt (e) u = Div (x, r) y = Mul (u, w)".into()),
        ("x w", "t = ReduceSumSquare <axes = [2]> (x) m = Mul (t, eighth) e = Add (m, eps) r = Sqrt (e) u = Div (x, r) y = Mul (u, w)".into()),
        ("x w", "s = Mul (x, x) m = MatMul (s, ones) e = Add (m, eps) r = Sqrt (e) u = Div (x, r) y = Mul (u, w)".into()),
        ("x w", "s = Mul (x, x) m = ReduceMean <axes = [-1], keepdims = 0> (s) e = Add (m, eps) r = Sqrt (e) k = Unsqueeze (r, last) u = Div (x, k) y = Mul (u, w)".into()),
        ("x w", format!("{square} e = Max (m, zero) a = Add (e, eps) r = Sqrt (a) k = Cast <to = 10> (r) j = Cast <to = 1> (k) u = Div (x, j) y = Mul (u, w)")),
        ("x w3", format!("{square} e = Add (m, eps) r = Sqrt (e) u = Div (x, r) g = Mul (u, w3) h = Identity (g) o = Dropout (h) y = Cast <to = 1> (o)")),
        ("x", "n = ReduceL2 <axes = [-1]> (x) u = Div (x, n) y = Mul (u, root)".into()),
        ("x", "u = LpNormalization <axis = -1, p = 2> (x) y = Mul (u, root)".into()),
        ("x w", "y = RMSNormalization <axis = -1, epsilon = 1e-5> (x, w)".into()),
        ("x w", "y = SimplifiedLayerNormalization <epsilon = 1e-6> (x, w)".into()),
        // The same but for eps.
        ("x", "n = ReduceL2 <axes = [-1]> (x) c = Clip (n, small) h = Shape (x) e = Expand (c, h) u = Div (x, e) y = Mul (u, root)".into()),
        ("x w", format!("{square} r = Sqrt (m) e = Add (r, eps) u = Div (x, e) y = Mul (u, w)")),
        ("x w", format!("{square} e = Max (m, eps) r = Sqrt (e) u = Div (x, r) y = Mul (u, w)")),
        // Other sizes of a row.
        ("x", "n = ReduceL1 <axes = [-1]> (x) y = Div (x, n)".into()),
        ("x", "a = Abs (x) n = ReduceMax <axes = [-1]> (a) e = Max (n, eps) y = Div (x, e)".into()),
        // Without the mean.
        ("d w v", format!("{centre} {variance} e = Add (m, eps) r = Sqrt (e) u = Div (d, r) g = Mul (u, w) y = Add (g, v)")),
        ("x w v", format!("{centre} {variance} e = Add (m, eps) r = Sqrt (e) i = Reciprocal (r) f = Mul (i, w) a = Mul (x, f) n = Mul (c, f) z = Sub (v, n) y = Add (a, z)")),
        ("x w", format!("{centre} q = Mul (x, x) p = ReduceMean <axes = [-1]> (q) o = Mul (c, c) m = Sub (p, o) e = Add (m, eps) r = Sqrt (e) u = Div (d, r) y = Mul (u, w)")),
        ("d w v", format!("{centre} q = Mul (d, d) t = ReduceSum (q, last) m = Div (t, seven) r = Sqrt (m) e = Add (r, eps) u = Div (d, e) g = Mul (u, w) y = Add (g, v)")),
        ("x w v", "y = LayerNormalization (x, w, v)".into()),
        ("x", "y = MeanVarianceNormalization <axes = [-1]> (x)".into()),
        ("f w v", "h = Shape (x) f = Reshape (x, flat) u = GroupNormalization <num_groups = 1, epsilon = 1e-6> (f, w, v) y = Reshape (u, h)".into()),
        ("x w", "h = Shape (x) f = Reshape (x, rows) u = InstanceNormalization (f, unit, none) t = Reshape (u, h) y = Mul (t, w)".into()),
        // As Keras has it: tokens are the channels of a batch.
        ("x w", "h = Shape (x) f = Reshape (x, flat) i = Shape (f) l = Gather (i, first) g1 = Expand (unit, l) g0 = Expand (none, l) n = Unsqueeze (f, first) u, m1, v1 = BatchNormalization <training_mode = 1> (n, g1, g0, g0, g1) q = Squeeze (u, first) b = Reshape (q, h) y = Mul (b, w)".into()),
        // What is normalised is a sum; its other outputs are no norms.
        ("a sum w", "a = Mul (x, two) y, n1, n2 = com.microsoft.SkipSimplifiedLayerNormalization (x, a, w)".into()),
        ("a sum w", "a = Mul (x, two) y, n1, n2, t = com.microsoft.SkipSimplifiedLayerNormalization <epsilon = 1e-5> (x, a, w, v)".into()),
        ("a sum w v", "a = Mul (x, two) y, n1, n2, t = com.microsoft.SkipLayerNormalization (x, a, w, v, v)".into()),
        ("none", "a = Mul (x, two) n0, n1, n2, y = com.microsoft.SkipSimplifiedLayerNormalization (x, a, w)".into()),
        // The unbiased deviation, as TorchScript counts the elements.
        ("d w v", format!("{centre} {variance} h = Shape (x) l = Gather (h, last) n = ReduceProd <keepdims = 0> (l) f = Cast <to = 1> (n) p = Mul (m, f) o = Sub (f, one) a = Div (p, o) r = Sqrt (a) e = Add (r, eps) g = Mul (d, w) u = Div (g, e) y = Add (u, v)")),
        // No norm of the row.
        ("none", "y = Tanh (x)".into()),
        ("none", "y = Softmax <axis = -1> (x)".into()),
        ("none", "y = Mul (x, w)".into()),
        ("none", "s = Pow (x, two) m = ReduceMean <axes = [1]> (s) r = Sqrt (m) y = Div (x, r)".into()),
        ("none", "s = Pow (x, two) m = ReduceMean <axes = [1, 2]> (s) r = Sqrt (m) y = Div (x, r)".into()),
        ("none", "s = Pow (x, two) m = ReduceMean (s) r = Sqrt (m) y = Div (x, r)".into()),
        ("none", format!("{square} e = Add (m, one) u = Div (x, e) y = Mul (u, w)")),
        ("none", format!("{square} y = Mul (x, m)")),
        // Its rows are at other places: what reads them there may have a norm of its own.
        ("none", "n = SimplifiedLayerNormalization (x, w) y = Transpose <perm = [1, 0, 2]> (n)".into()),
        ("none", "f = Reshape (x, heads) s = Mul (f, f) m = ReduceMean <axes = [-1]> (s) r = Sqrt (m) u = Div (f, r) h = Shape (x) y = Reshape (u, h)".into()),
    ] {
        let stored = ", int64[2] flat = {-1, 8}, int64[3] rows = {-1, 1, 8}, int64[4] heads = {0, 0, 2, 4}, float[1] unit = {1.0}, float[1] none = {0.0}, int64[1] first = {0}";
        wrong.check(kind(&graph(17, X, stored, &nodes)), want, &nodes);
    }
}

#[test]
fn norms_where_no_shape_is_told() {
    let mut wrong = Wrong::default();
    let of = |x: &str, axis: i64| {
        format!(
            "s = Mul ({x}, {x}) m = ReduceMean <axes = [{axis}]> (s) e = Add (m, eps) r = Sqrt (e) u = Div ({x}, r) y = Mul (u, w)"
        )
    };
    let cases = [
        ("x w", "float[] x", of("x", -1)),
        ("x w", "float[b, s, d] x", of("x", 2)),
        // Most often it has three axes.
        ("x w", "float[] x", of("x", 2)),
        ("none", "float[] x", of("x", 1)),
        ("f w", "float[] x", format!("f = Reshape (x, flat) {}", of("f", 1))),
        ("x w", "float[b, s, d] x", "h = Shape (x) f = Reshape (x, rows) g = Unsqueeze (f, ax) u = InstanceNormalization (g, unit, none) t = Reshape (u, h) y = Mul (t, w)".into()),
        // The file tells of another width.
        ("none", "float[b, s, 16] x", of("x", -1)),
        ("none", "float[] x", format!("a = MatMul (x, wide) {}", of("a", -1))),
    ];
    for (want, x, nodes) in cases {
        let stored = ", int64[2] flat = {-1, 8}, int64[2] rows = {-1, 8}, int64[1] ax = {1}, float[1] unit = {1.0}, float[1] none = {0.0}, float[8, 16] wide";
        wrong.check(kind(&graph(17, x, stored, &nodes)), want, &format!("{x}: {nodes}"));
    }
}

#[test]
fn norms_are_the_same_by_what_they_make_of_rows() {
    let effect = |nodes: &str| {
        let model = graph(17, X, "", nodes);
        let graphs = Graphs::of(&model);
        norm(graphs.main(), &graphs.constants(GraphId::MAIN), "y", None).unwrap().effect
    };
    let plain = "s = Mul (x, x) m = ReduceMean <axes = [-1]> (s) e = Add (m, eps) r = Sqrt (e) u = Div (x, r) y = Mul (u, w)";
    assert_eq!(effect(plain), effect(&plain.replace("(u, w)", "(w, u)")));
    assert_ne!(effect(plain), effect(&plain.replace("eps", "small")));
    assert_ne!(effect(plain), effect(&plain.replace("(u, w)", "(u, v)")));
}

/// A graph whose last product `proj` reads what the nodes make of `x`.
fn product(opset: i64, x: &str, nodes: &str) -> ModelProto {
    model(&format!(
        r#"<ir_version: 9, opset_import: ["" : {opset}, "com.microsoft" : 1]>
         g ({x}) => (float[b, s, 4] y) <
           float[8, 4] w, float one = {{1.0}}, float half = {{0.5}}, float quarter = {{0.25}}, float zero = {{0.0}}, float eps = {{1e-5}},
           float high = {{127.0}}, float low = {{-128.0}}, float low_127 = {{-127.0}}, float cut = {{100.0}}, float seven = {{7.0}}, float most = {{128.0}},
           float inverse = {{0.007874016}}, float magic = {{12582912.0}}, float step = {{0.02}}, float eight = {{8.0}}, float eps_127 = {{7.874016e-08}},
           int64[1] last = {{-1}}, int64[1] k = {{1}}, int64[2] flat = {{-1, 8}}, int64[4] heads = {{0, 0, 2, 4}}, int64[3] back = {{0, 0, 8}}, int64[1] width = {{8}},
           int8 zero_point = {{0}}, int8 three = {{3}}, float[8] vector = {{1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0}},
           float[b, s, 8] like_x
         > {{ {nodes} }}"#
    ))
}

/// Whether the last node is a BitLinear, with what it is scaled by and its eps; or why not.
fn verdict(model: &ModelProto) -> String {
    let graphs = Graphs::of(model);
    let (root, _) = graphs.main().nodes().last().unwrap();
    match quantized(graphs.main(), &graphs.constants(GraphId::MAIN), root) {
        Ok(found) => {
            let casts = if found.casts { ", casts" } else { "" };
            format!("{} times {} above {:.0e}{casts}", found.x, found.factor, found.eps)
        }
        Err(NotQuantized::Foreign) => "foreign".into(),
        Err(NotQuantized::Otherwise(why)) => why,
    }
}

const PEAK: &str = "a = Abs (x) m = ReduceMax <axes = [-1]> (a)";

#[test]
fn fake_quantisations_of_bit_linear() {
    let mut wrong = Wrong::default();
    let g = format!("{PEAK} g = Max (m, eps)");
    let f = format!("{g} f = Div (high, g) u = Mul (x, f)");
    let codes = format!("{f} r = Round (u) q = Clip (r, low, high)");
    let y = "y = MatMul (d, w)";
    let exact = [
        format!("{codes} d = Div (q, f) {y}"),
        format!("{f} r = Round (u) d = Div (r, f) {y}"),
        format!("{codes} s = Div (g, high) d = Mul (s, q) {y}"),
        format!("{codes} s = Mul (g, inverse) d = Mul (s, q) {y}"),
        format!("{g} s = Div (g, high) u = Div (x, s) r = Round (u) d = Mul (r, s) {y}"),
        format!(
            "{g} s = Mul (g, inverse) t = Reciprocal (s) u = Mul (x, t) r = Round (u) d = Mul (r, s) {y}"
        ),
        format!(
            "{g} n = Div (x, g) u = Mul (n, high) r = Round (u) p = Mul (r, g) d = Div (p, high) {y}"
        ),
        // What keeps the magnitude from zero.
        format!(
            "{PEAK} g = Clip (m, eps) f = Div (high, g) u = Mul (x, f) r = Round (u) d = Div (r, f) {y}"
        ),
        format!(
            "{PEAK} c = Less (m, eps) g = Where (c, eps, m) f = Div (high, g) u = Mul (x, f) r = Round (u) d = Div (r, f) {y}"
        ),
        format!(
            "{PEAK} s = Div (m, high) c = Max (s, eps_127) u = Div (x, c) r = Round (u) d = Mul (r, c) {y}"
        ),
        // The largest magnitude.
        format!(
            "h = ReduceMax <axes = [-1]> (x) l = ReduceMin <axes = [-1]> (x) n = Neg (l) m = Max (h, n) g = Max (m, eps) f = Div (high, g) u = Mul (x, f) r = Round (u) d = Div (r, f) {y}"
        ),
        format!(
            "a = Abs (x) t, i = TopK (a, k) g = Max (t, eps) f = Div (high, g) u = Mul (x, f) r = Round (u) d = Div (r, f) {y}"
        ),
        format!(
            "a = Abs (x) n = ReduceMax <axes = [2], keepdims = 0> (a) m = Unsqueeze (n, last) g = Max (m, eps) f = Div (high, g) u = Mul (x, f) r = Round (u) d = Div (r, f) {y}"
        ),
        format!(
            "p = Mul (x, x) o = ReduceMax <axes = [-1]> (p) m = Sqrt (o) g = Max (m, eps) f = Div (high, g) u = Mul (x, f) r = Round (u) d = Div (r, f) {y}"
        ),
        format!(
            "{g} h = Shape (x) e = Expand (g, h) f = Div (high, e) u = Mul (x, f) r = Round (u) d = Div (r, f) {y}"
        ),
        // The bounds, in any order, before the rounding or after it.
        format!("{f} r = Round (u) c = Min (r, high) q = Max (c, low) d = Div (q, f) {y}"),
        format!("{f} c = Max (u, low) b = Min (c, high) q = Round (b) d = Div (q, f) {y}"),
        format!("{f} r = Round (u) q = Clip (r, low_127, high) d = Div (q, f) {y}"),
        // The rounding.
        format!("{codes} i = Cast <to = 3> (q) j = Cast <to = 1> (i) d = Div (j, f) {y}"),
        format!("{f} p = Add (u, magic) r = Sub (p, magic) d = Div (r, f) {y}"),
        format!(
            "{f} q = QuantizeLinear (u, one, zero_point) r = DequantizeLinear (q, one, zero_point) d = Div (r, f) {y}"
        ),
        // Straight through.
        format!("{codes} d1 = Div (q, f) e = Sub (d1, x) d = Add (x, e) {y}"),
        format!("{codes} d1 = Div (q, f) e = Sub (d1, x) l = Mul (one, e) d = Add (l, x) {y}"),
        format!("{codes} e = Sub (q, u) p = Add (u, e) d = Div (p, f) {y}"),
        format!("{codes} d1 = Div (q, f) n = Sub (x, d1) d = Sub (x, n) {y}"),
        format!(
            "{codes} d1 = Div (q, f) o = Sub (one, one) p = Mul (o, x) r1 = Mul (one, d1) d = Add (p, r1) {y}"
        ),
        // Rows between other shapes.
        format!("{codes} d1 = Div (q, f) d = Reshape (d1, flat) {y}"),
        format!(
            "h = Shape (ids) n = Concat <axis = 0> (h, width) {codes} d1 = Div (q, f) d2 = Reshape (d1, flat) like_x = Reshape (d2, n) y = MatMul (like_x, w)"
        ),
    ];
    for nodes in exact {
        wrong.check(verdict(&product(17, WITH_IDS, &nodes)), "x times 1 above 1e-5", &nodes);
    }
    for (want, nodes) in [
        (
            "x times 0.125 above 1e-5",
            format!("{codes} p = MatMul (q, w) i = Div (one, f) s = Div (i, eight) y = Mul (s, p)"),
        ),
        (
            "x times 8 above 1e-5",
            format!("{codes} p = MatMul (q, w) e = Mul (p, eight) y = Div (e, f)"),
        ),
        ("x times 127 above 1e-5", format!("{f} r = Round (u) d = Mul (r, g) {y}")),
        (
            "x times 1 above 1e-30",
            format!("{PEAK} s = Div (m, high) u = Div (x, s) r = Round (u) d = Mul (r, s) {y}"),
        ),
        (
            "x times 1 above 1e-30",
            format!(
                "{PEAK} e = Equal (m, zero) g = Where (e, one, m) f = Div (high, g) u = Mul (x, f) r = Round (u) d = Div (r, f) {y}"
            ),
        ),
        (
            "x times 1 above 2e-1",
            format!(
                "{PEAK} g = Max (m, eps, quarter) f = Div (high, g) u = Mul (x, f) r = Round (u) d = Div (r, f) {y}"
            ),
        ),
        (
            "x times 1 above 1e-3",
            format!(
                "{PEAK} s = Div (m, high) c = Max (s, eps) u = Div (x, c) r = Round (u) d = Mul (r, c) {y}"
            ),
        ),
        (
            "x times 1 above 1e-5, casts",
            format!("{codes} d1 = Div (q, f) d2 = Cast <to = 10> (d1) d = Cast <to = 1> (d2) {y}"),
        ),
    ] {
        wrong.check(verdict(&product(17, X, &nodes)), want, &nodes);
    }
}

#[test]
fn fake_quantisations_of_others() {
    let mut wrong = Wrong::default();
    let g = format!("{PEAK} g = Max (m, eps)");
    let f = format!("{g} f = Div (high, g) u = Mul (x, f)");
    let y = "y = MatMul (d, w)";
    let ends = "h = ReduceMax <axes = [-1]> (x) l = ReduceMin <axes = [-1]> (x)";
    for (want, nodes) in [
        ("node `r` rounds halves up, not half to even", format!("{f} h = Add (u, half) r = Floor (h) d = Div (r, f) {y}")),
        ("node `q` rounds halves away from zero, not half to even", format!("{f} n = Sign (u) b = Abs (u) h = Add (b, half) r = Floor (h) q = Mul (n, r) d = Div (q, f) {y}")),
        ("node `i` rounds halves away from zero, not half to even", format!("{f} n = Sign (u) h = Mul (n, half) b = Add (u, h) i = Cast <to = 6> (b) q = Cast <to = 1> (i) d = Div (q, f) {y}")),
        ("node `i` rounds towards zero, not half to even", format!("{f} i = Cast <to = 3> (u) q = Cast <to = 1> (i) d = Div (q, f) {y}")),
        ("node `r` rounds up, not half to even", format!("{f} r = Ceil (u) d = Div (r, f) {y}")),
        ("node `q` clips the codes to -128..100, not to -128..127", format!("{f} r = Round (u) q = Clip (r, low, cut) d = Div (q, f) {y}")),
        ("node `r` rounds x·7.0000/g, not x·127/g", format!("{g} f = Div (seven, g) u = Mul (x, f) r = Round (u) d = Div (r, f) {y}")),
        ("node `r` rounds x·128.0000/g, not x·127/g", format!("{g} f = Div (most, g) u = Mul (x, f) r = Round (u) q = Clip (r, low, high) d = Div (q, f) {y}")),
        ("node `r` rounds x·50.0000, a scale that is no token's own, not x·127/g", format!("u = Div (x, step) r = Round (u) d = Mul (r, step) {y}")),
        ("node `r` rounds by one scale for all tokens, not by each token's own", format!("a = Abs (x) m = ReduceMax (a) g = Max (m, eps) f = Div (high, g) u = Mul (x, f) r = Round (u) d = Div (r, f) {y}")),
        ("node `r` rounds by the largest magnitude plus 1.0e-5, instead of keeping it above", format!("{PEAK} g = Add (m, eps) f = Div (high, g) u = Mul (x, f) r = Round (u) d = Div (r, f) {y}")),
        ("node `r` rounds each 4 elements by a scale of their own, not each token", "t = Reshape (x, heads) a = Abs (t) m = ReduceMax <axes = [-1]> (a) g = Max (m, eps) f = Div (high, g) u = Mul (t, f) r = Round (u) e = Div (r, f) d = Reshape (e, back) y = MatMul (d, w)".into()),
        ("node `r` rounds its activation, but not by a scale of 127 over the row's largest magnitude", format!("a = Abs (x) m = ReduceMean <axes = [-1]> (a) g = Max (m, eps) f = Div (high, g) u = Mul (x, f) r = Round (u) q = Clip (r, low, high) d = Div (q, f) {y}")),
        ("node `r` rounds its activation, but not by a scale of 127 over the row's largest magnitude", format!("a = Abs (x) m = ReduceMax <axes = [1]> (a) g = Max (m, eps) f = Div (high, g) u = Mul (x, f) r = Round (u) d = Div (r, f) {y}")),
        ("node `r` rounds its activation, but not by a scale of 127 over the row's largest magnitude", format!("{g} f = Div (high, g) h = Mul (x, vector) u = Mul (h, f) r = Round (u) e = Div (r, f) d = Div (e, vector) {y}")),
        ("its operand `d` is still 0.500 parts unquantised", format!("{f} r = Round (u) e = Div (r, f) n = Sub (e, x) p = Mul (n, half) d = Add (x, p) {y}")),
        ("`d` is not the codes `r` times g/127", format!("{f} r = Round (u) o = Mul (g, g) d = Mul (r, o) {y}")),
        ("`d` is not the codes `r` times g/127", format!("{PEAK} g = Max (m, eps) f = Div (high, g) u = Mul (x, f) r = Round (u) o = Max (m, step) s = Div (o, high) d = Mul (r, s) {y}")),
        ("node `r` rounds its activation, but not by a scale of 127 over the row's largest magnitude", format!("{ends} b = Sub (h, l) s = Div (b, high) u = Div (x, s) r = Round (u) d = Mul (r, s) {y}")),
        ("node `z` rounds in a way of its own, not half to even", format!("{f} n = Add (u, quarter) z = Round (n) o = Sub (z, quarter) d = Div (o, f) {y}")),
        ("its activation is quantised in another way: `i` (Cast): it casts to uint16", format!("{f} r = Round (u) i = Cast <to = 4> (r) c = Cast <to = 1> (i) d = Div (c, f) {y}")),
        ("node `q` rounds its activation, but not by a scale of 127 over the row's largest magnitude", format!("q, s, z = DynamicQuantizeLinear (x) d = DequantizeLinear (q, s, z) {y}")),
        ("node `q` rounds its activation, but not by a scale of 127 over the row's largest magnitude", format!("q = QuantizeLinear (x, step, three) d = DequantizeLinear (q, step, three) {y}")),
        // What no cut follows.
        ("node `r2` rounds its activation, by way of nodes that are no fake quantisation of its rows", "x1, x2 = Split <axis = -1> (x) a = Abs (x1) m = ReduceMax <axes = [-1]> (a) g = Max (m, eps) f = Div (high, g) u = Mul (x1, f) r = Round (u) d1 = Div (r, f) \
         a2 = Abs (x2) m2 = ReduceMax <axes = [-1]> (a2) g2 = Max (m2, eps) f2 = Div (high, g2) u2 = Mul (x2, f2) r2 = Round (u2) d2 = Div (r2, f2) d = Concat <axis = -1> (d1, d2) y = MatMul (d, w)".into()),
        // None of these rounds its activation.
        ("foreign", format!("d = Relu (x) {y}")),
        ("foreign", format!("r = Round (x) d = Add (x, r) {y}")),
        ("foreign", format!("{f} d = Div (u, f) {y}")),
        ("foreign", "y = MatMul (x, w)".into()),
        ("foreign", format!("{f} r = Round (u) e = Div (r, f) d = MatMul (e, w) y = Mul (d, half)")),
    ] {
        wrong.check(verdict(&product(17, WITH_IDS, &nodes)), want, &nodes);
    }
}

/// A graph in which `y` is made of a projection's product `a`.
fn after_product(nodes: &str) -> ModelProto {
    model(&format!(
        r#"<ir_version: 10, opset_import: ["" : 22, "com.microsoft" : 1]>
         g (float[b, s, 8] x, float[b, s, 1] mask, bool[b, s, 1] kept) => (float[b, s, 16] y) <
           float[8, 16] w, float[8, 16] w2, float[16] bias, float[16] slopes, float zero = {{0.0}}, float one = {{1.0}}, float half = {{0.5}}, float two = {{2.0}},
           float six = {{6.0}}, float three = {{3.0}}, float root = {{0.70710677}}, float k = {{0.044715}}, float c = {{0.7978846}}, float alpha = {{1.702}}, float tenth = {{0.1}},
           float cap = {{30.0}}, float high = {{65504.0}}, float low = {{-65504.0}}, float most = {{127.0}}, float least = {{-128.0}}, float eps = {{1e-5}}
         > {{ a = MatMul (x, w) {nodes} }}"#
    ))
}

#[test]
fn activations() {
    let mut wrong = Wrong::default();
    let gelu = "h = Mul (a, half) p = Mul (a, root) e = Erf (p) f = Add (e, one) y = Mul (h, f)";
    let tanh = "b = Mul (a, a) d = Mul (b, a) e = Mul (d, k) f = Add (a, e) g = Mul (f, c) t = Tanh (g) u = Add (t, one) v = Mul (u, half) y = Mul (a, v)";
    for (want, nodes) in [
        ("bends", gelu),
        ("bends", tanh),
        ("bends", "y = Relu (a)"),
        ("bends", "y = Max (a, zero)"),
        ("bends", "y = Clip (a, zero)"),
        ("bends", "b = Add (a, bias) y = Clip (b, zero, six)"),
        ("bends", "g = Greater (a, zero) y = Where (g, a, zero)"),
        ("bends", "g = Greater (a, zero) n = Mul (a, tenth) y = Where (g, a, n)"),
        ("bends", "g = Greater (a, zero) i = Cast <to = 1> (g) y = Mul (a, i)"),
        ("bends", "b = Abs (a) d = Add (a, b) y = Mul (d, half)"),
        ("bends", "r = Relu (a) y = Mul (r, r)"),
        ("bends", "r = Relu (a) y = Pow (r, two)"),
        ("bends", "y = PRelu (a, slopes)"),
        ("bends", "y = LeakyRelu <alpha = 0.2> (a)"),
        ("bends", "s = Sigmoid (a) y = Mul (a, s)"),
        ("bends", "n = Neg (a) e = Exp (n) d = Add (e, one) y = Div (a, d)"),
        ("bends", "n = Neg (a) e = Exp (n) d = Add (e, one) r = Reciprocal (d) y = Mul (r, a)"),
        ("bends", "p = Mul (a, alpha) s = Sigmoid (p) y = Mul (a, s)"),
        (
            "bends",
            "t = Mul (a, half) h = Tanh (t) i = Add (h, one) j = Mul (i, half) y = Mul (a, j)",
        ),
        ("bends", "e = Exp (a) d = Add (e, one) l = Log (d) t = Tanh (l) y = Mul (a, t)"),
        ("bends", "p = Add (a, three) q = Clip (p, zero, six) r = Mul (a, q) y = Div (r, six)"),
        ("bends", "y = HardSwish (a)"),
        ("bends", "y = Mish (a)"),
        ("bends", "y = Gelu <approximate = \"tanh\"> (a)"),
        ("bends", "y = Elu (a)"),
        ("bends", "y = Selu (a)"),
        ("bends", "y = com.microsoft.QuickGelu (a)"),
        ("bends", "y = com.microsoft.BiasGelu (a, bias)"),
        ("bends", "h = Cast <to = 10> (a) r = Relu (h) d = Dropout (r) y = Cast <to = 1> (d)"),
        // Behind a mask, a norm, a fake quantisation.
        ("bends", "r = Relu (a) y = Mul (r, mask)"),
        ("bends", "r = Relu (a) y = Where (kept, r, zero)"),
        ("bends", "r = Relu (a) y = LayerNormalization (r, slopes, bias)"),
        (
            "bends",
            "r = Relu (a) b = Abs (r) m = ReduceMax <axes = [-1]> (b) f = Div (most, m) u = Mul (r, f) i = Round (u) q = Clip (i, least, most) y = Div (q, f)",
        ),
        // No function of one element, or a line.
        ("not", "y = Add (a, bias)"),
        ("not", "y = Mul (a, slopes)"),
        ("not", "y = Clip (a, low, high)"),
        ("not", "p = Div (a, cap) t = Tanh (p) y = Mul (t, cap)"),
        ("not", "y = LayerNormalization (a, slopes, bias)"),
        (
            "not",
            "s = Mul (a, a) m = ReduceMean <axes = [-1]> (s) e = Add (m, eps) r = Sqrt (e) y = Div (a, r)",
        ),
        (
            "not",
            "b = Abs (a) m = ReduceMax <axes = [-1]> (b) f = Div (most, m) u = Mul (a, f) i = Round (u) q = Clip (i, least, most) y = Div (q, f)",
        ),
        (
            "not",
            "b = Abs (a) m = ReduceMax <axes = [-1]> (b) f = Div (most, m) u = Mul (a, f) s = Sign (u) h = Mul (s, half) p = Add (u, h) i = Cast <to = 6> (p) q = Cast <to = 1> (i) y = Div (q, f)",
        ),
        ("not", "y = Softmax <axis = -1> (a)"),
        ("not", "y = Mul (a, mask)"),
        ("not", "d = MatMul (x, w2) y = Mul (a, d)"),
    ] {
        let model = after_product(nodes);
        let graphs = Graphs::of(&model);
        let aside = |name: &str| matches!(name, "mask" | "kept");
        let found = is_activated(graphs.main(), &graphs.constants(GraphId::MAIN), "y", &aside);
        wrong.check(if found { "bends" } else { "not" }.into(), want, nodes);
    }
}

#[test]
fn softmaxes() {
    let mut wrong = Wrong::default();
    let shifted = "m = ReduceMax <axes = [-1]> (a) d = Sub (a, m) e = Exp (d)";
    for (want, nodes) in [
        ("d", format!("{shifted} s = ReduceSum <keepdims = 1> (e, last) y = Div (e, s)")),
        ("d", format!("{shifted} s = ReduceSum <keepdims = 0> (e, last) u = Unsqueeze (s, last) y = Div (e, u)")),
        ("d", format!("{shifted} s = ReduceSum (e, last) r = Reciprocal (s) y = Mul (r, e)")),
        ("d", format!("{shifted} s = ReduceSum (e, last) n = Cast <to = 10> (s) u = Cast <to = 1> (n) y = Div (e, u)")),
        ("a", "e = Exp (a) s = ReduceSum (e, last) y = Div (e, s)".into()),
        ("d", format!("p = Mul (a, two) {} s = ReduceSum (e, last) y = Div (e, s)", shifted.replace("(a", "(p").replace("e = Exp (d)", "e = Pow (two, d)"))),
        ("d", format!("{shifted} y = LpNormalization <axis = -1, p = 1> (e)")),
        ("none", format!("{shifted} y = LpNormalization <axis = -1, p = 2> (e)")),
        ("a", "l = LogSoftmax <axis = -1> (a) y = Exp (l)".into()),
        ("a", "l = ReduceLogSumExp <axes = [3]> (a) d = Sub (a, l) y = Exp (d)".into()),
        ("d by columns", "t = Transpose <perm = [0, 1, 3, 2]> (a) m = ReduceMax <axes = [2]> (t) d = Sub (t, m) e = Exp (d) s = ReduceSum (e, rows) y = Div (e, s)".into()),
        // Masked before, and after.
        ("d", format!("p = Add (a, mask) {} s = ReduceSum (e, last) y = Div (e, s)", shifted.replace("(a", "(p"))),
        ("d", format!("{shifted} f = Mul (e, mask) s = ReduceSum (f, last) y = Div (f, s)")),
        ("d", format!("{shifted} f = Where (kept, e, zero) s = ReduceSum (f, last) y = Div (f, s)")),
        // With a sink in the sum.
        ("a", format!("{shifted} s = ReduceSum (e, last) g = Sub (sinks, m) h = Exp (g) t = Add (s, h) y = Div (e, t)")),
        ("none", "n = Neg (a) e = Exp (n) f = Add (e, one) y = Div (a, f)".into()),
        ("none", "e = Exp (a) y = Div (e, two)".into()),
        ("none", "s = ReduceSum (a, last) y = Div (a, s)".into()),
        ("none", "e = Exp (a) s = ReduceSum (e, last) y = Div (a, s)".into()),
        ("none", "e = Exp (a) s = ReduceSum (e) y = Div (e, s)".into()),
    ] {
        let model = model(&format!(
            r#"<ir_version: 8, opset_import: ["" : 17]>
             g (float[b, 2, s, 8] q, float[b, 2, 8, s] k, float[b, 1, s, s] mask, bool[b, 1, s, s] kept) => (float[b, 2, s, s] y) <
               int64[1] last = {{-1}}, int64[1] rows = {{-2}}, float one = {{1.0}}, float two = {{2.0}}, float zero = {{0.0}}, float[1, 2, 1, 1] sinks = {{0.5, -1.0}}
             > {{ a = MatMul (q, k) {nodes} }}"#
        ));
        let graphs = Graphs::of(&model);
        let aside = |name: &str| matches!(name, "mask" | "kept");
        let found = softmax(graphs.main(), &graphs.constants(GraphId::MAIN), "y", &aside);
        let found = found.map_or("none".into(), |(of, by_columns)| {
            format!("{of}{}", if by_columns { " by columns" } else { "" })
        });
        wrong.check(found, want, &nodes);
    }
}
