//! Roles found in real exports, with and without their names, and in one small graph per pattern.

use bitonnx::{
    array::Array,
    graph::{GraphId, Graphs, View},
    proto::{self, AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto},
    roles::{self, Role, Site},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Where a site is, and what it is for.
#[derive(Debug, Clone)]
struct Fact {
    graph: usize,
    node: usize,
    name: String,
    weight_input: usize,
    in_features: usize,
    out_features: usize,
    role: String,
}

#[test]
fn roles_of_fixtures() {
    let mut wrong = Vec::new();
    for folder in fixtures() {
        let (model, facts) = read(&folder);
        wrong.extend(mistakes(&folder, &model, &facts));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn roles_of_fixtures_without_names() {
    let mut wrong = Vec::new();
    for folder in fixtures() {
        let (mut model, facts) = read(&folder);
        scramble(&mut model);
        wrong.extend(mistakes(&folder, &model, &facts));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn quantised_exports() {
    let folder =
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/bert-ts14-int8dyn/model.onnx");
    let model = proto::decode(fs::read(folder).unwrap().into(), "model.onnx").unwrap();
    let graphs = Graphs::of(&model);
    let view = graphs.main();
    let stored = |name: &str| view.initializer(name).is_some();
    let products = view.nodes();
    let products: Vec<_> =
        products.filter(|(_, n)| n.op_type() == "MatMulInteger" && stored(&n.input[1])).collect();
    let sites: Vec<Site> = products
        .iter()
        .map(|(node, n)| Site {
            node: *node,
            input: &n.input[0],
            output: &n.output[0],
            in_features: 64,
            out_features: 64,
        })
        .collect();
    let found = roles::find(view, &graphs.constants(view.id()), &sites);
    let found: Vec<String> = found.iter().map(Role::to_string).collect();
    assert_eq!(found.join(" "), "q k v o fc1 fc2 q k v o fc1 fc2 pooler");
}

#[test]
fn self_attention() {
    check(
        "x mask => y
         a = MatMul(x, A:8x8)
         b = MatMul(x, B:8x8)
         c = MatMul(x, C:8x8)
         bt = Transpose<perm=0,1,3,2>(b)
         root = CastLike(SCALE, a)
         as = Mul(a, root)
         bs = Mul(bt, root)
         scores = MatMul(as, bs)
         masked = Add(scores, mask)
         p = Softmax(masked)
         nan = IsNaN(p)
         clean = Where(nan, ZERO, p)
         ctx = MatMul(clean, c)
         flat = Reshape(ctx, SHAPE)
         d = MatMul(flat, D:8x8)
         y = Add(x, d)",
        "a q, b k, c v, d o",
    );
}

/// Rotary halves, a norm of the keys, a cache, heads repeated, and the key's product first.
#[test]
fn decoder_attention() {
    check(
        "x cos sin past_k past_v => y
         c = MatMul(x, C:8x4)
         b = MatMul(x, B:8x4)
         a = MatMul(x, A:8x8)
         a1 = Slice(a, ZERO, HALF)
         a2 = Slice(a, HALF, END)
         an = Neg(a2)
         ar = Concat(an, a1)
         ac = Mul(a, cos)
         as = Mul(ar, sin)
         q = Add(ac, as)
         sq = Pow(b, TWO)
         mean = ReduceMean(sq)
         eps = Add(mean, EPS)
         root = Sqrt(eps)
         bn = Div(b, root)
         br = Mul(bn, cos)
         k = Concat(past_k, br)
         kx = Expand(k, SHAPE)
         kt = Transpose<perm=0,1,3,2>(kx)
         v = Concat(past_v, c)
         vx = Expand(v, SHAPE)
         scores = MatMul(q, kt)
         p = Softmax(scores)
         ctx = MatMul(p, vx)
         d = MatMul(ctx, D:8x8)
         y = Add(d, x)",
        "c v, b k, a q, d o",
    );
}

#[test]
fn scores_with_keys_as_rows() {
    for (perm, expected) in [("0,1,3,2", "a k, b q, c v"), ("1,0,2,3", "a q, b k, c v")] {
        check(
            &format!(
                "x => y
                 a = MatMul(x, A:8x8)
                 b = MatMul(x, B:8x8)
                 c = MatMul(x, C:8x8)
                 bt = Transpose<perm=0,1,3,2>(b)
                 scores = MatMul(a, bt)
                 turned = Transpose<perm={perm}>(scores)
                 p = Softmax(turned)
                 y = MatMul(p, c)"
            ),
            expected,
        );
    }
    check(
        "x => y
         a = MatMul(x, A:8x8)
         b = MatMul(x, B:8x8)
         c = MatMul(x, C:8x8)
         scores = Einsum<equation='aecd,abcd->acbe'>(a, b)
         p = Softmax(scores)
         y = Einsum<equation='acbe,aecd->abcd'>(p, c)",
        "a k, b q, c v",
    );
}

#[test]
fn packed_queries_keys_and_values() {
    for cut in [
        "q, k, v = Split(a, PARTS)",
        "q = Slice(a, ZERO, ONE)
         k = Slice(a, ONE, TWO)
         v = Slice(a, TWO, THREE)",
        "b = Add(BIAS, a)
         r = Reshape(b, SHAPE)
         t = Transpose<perm=2,0,3,1,4>(r)
         q = Gather(t, ZERO)
         k = Gather(t, ONE)
         v = Gather(t, TWO)",
    ] {
        check(
            &format!(
                "x => y
                 a = Gemm(x, A:8x24, BIAS)
                 {cut}
                 scores = MatMul(q, k)
                 p = Softmax(scores)
                 ctx = MatMul(p, v)
                 d = MatMul(ctx, D:8x8)
                 y = Add(x, d)"
            ),
            "a qkv, d o",
        );
    }
}

#[test]
fn attention_in_one_operator() {
    check(
        "x => y
         a = MatMul(x, A:8x8)
         b = MatMul(x, B:8x8)
         c = MatMul(x, C:8x8)
         ctx = Attention(a, b, c)
         d = MatMul(ctx, D:8x8)
         y = Add(x, d)",
        "a q, b k, c v, d o",
    );
    check(
        "x past_k past_v lens total => y
         a = MatMul(x, A:8x16)
         ctx, k, v = GroupQueryAttention(a, , , past_k, past_v, lens, total)
         d = MatMul(ctx, D:8x8)
         y = Add(x, d)",
        "a qkv, d o",
    );
    check(
        "x states => y
         a = MatMul(x, A:8x8)
         b = MatMul(states, B:8x16)
         ctx = MultiHeadAttention(a, b, , BIAS)
         d = MatMul(ctx, D:8x8)
         y = Add(x, d)",
        "a cross_q, b cross_kv, d cross_o",
    );
}

/// Stored positions are projected too, and their products are queries and keys of their own.
#[test]
fn relative_positions() {
    check(
        "x => y
         a = MatMul(x, A:8x8)
         b = MatMul(x, B:8x8)
         c = MatMul(x, C:8x8)
         e = MatMul(WHERE:6x8, E:8x8)
         bt = Transpose<perm=0,1,3,2>(b)
         scores = MatMul(a, bt)
         et = Transpose<perm=1,0>(e)
         more = MatMul(a, et)
         near = GatherElements(more, OFFSETS)
         sum = Add(scores, near)
         p = Softmax(sum)
         ctx = MatMul(p, c)
         d = MatMul(ctx, D:8x8)
         y = Add(x, d)",
        "a q, b k, c v, e k, d o",
    );
    check(
        "x => y
         a = MatMul(x, A:8x24)
         r = MatMul(x, R:8x4)
         q, k, v = Split(a)
         scores = MatMul(q, k)
         sum = Add(scores, r)
         p = Softmax(sum)
         ctx = MatMul(p, v)
         d = MatMul(ctx, D:8x8)
         y = Add(x, d)",
        "a qkv, r other, d o",
    );
}

/// Positions added anew before each attention are no residual stream.
#[test]
fn positions_added_in_each_layer() {
    check(
        "x pos => y
         i = Add(x, pos)
         a = MatMul(i, A:8x16)
         h = Relu(a)
         c = MatMul(h, C:16x8)
         s = Add(x, c)
         qi = Add(s, pos)
         ki = Add(pos, s)
         q = MatMul(qi, Q:8x8)
         k = MatMul(ki, K:8x8)
         v = MatMul(s, V:8x8)
         ctx = Attention(q, k, v)
         d = MatMul(ctx, D:8x8)
         y = Add(s, d)",
        "a fc1, c fc2, q q, k k, v v, d o",
    );
}

#[test]
fn attention_to_another_sequence() {
    check(
        "x states => y
         n = LayerNormalization(x, GAIN)
         a = MatMul(n, A:8x8)
         b = MatMul(states, B:8x8)
         c = MatMul(states, C:8x8)
         scores = MatMul(a, b)
         p = Softmax(scores)
         ctx = MatMul(p, c)
         d = MatMul(ctx, D:8x8)
         y = Add(x, d)",
        "a cross_q, b cross_k, c cross_v, d cross_o",
    );
    check(
        "x cached_k cached_v => y
         a = MatMul(x, A:8x8)
         scores = MatMul(a, cached_k)
         p = Softmax(scores)
         ctx = MatMul(p, cached_v)
         d = MatMul(ctx, D:8x8)
         y = Add(x, d)",
        "a cross_q, d cross_o",
    );
}

/// A norm of their own before each of q, k and v does not make them read different sequences.
#[test]
fn separate_norms_read_one_sequence() {
    check(
        "x => y
         n1 = RMSNormalization(x, GAIN)
         n2 = RMSNormalization(x, GAIN2)
         n3 = RMSNormalization(x, GAIN3)
         a = MatMul(n1, A:8x8)
         b = MatMul(n2, B:8x8)
         c = MatMul(n3, C:8x8)
         ctx = Attention(a, b, c)
         n4 = RMSNormalization(ctx, GAIN4)
         d = MatMul(n4, D:8x8)
         y = Add(x, d)",
        "a q, b k, c v, d o",
    );
}

#[test]
fn gated_mlp() {
    let silu = "s = Sigmoid(a)
         g = Mul(a, s)
         h = Mul(g, b)";
    let gelu = "e = Div(a, ROOT)
         f = Erf(e)
         i = Add(f, ONE)
         j = Mul(a, i)
         g = Mul(j, HALF)
         h = Mul(b, g)";
    let late = "s = Sigmoid(a)
         g = Mul(s, b)
         h = Mul(a, g)";
    let squared = "r = Relu(a)
         g = Mul(r, r)
         m = Mul(b, g)
         h = RMSNormalization(m, GAIN)";
    for act in [silu, gelu, late, squared] {
        check(
            &format!(
                "x => y
                 b = MatMul(x, B:8x16)
                 a = MatMul(x, A:8x16)
                 {act}
                 c = MatMul(h, C:16x8)
                 y = Add(x, c)"
            ),
            "b up, a gate, c down",
        );
    }
}

#[test]
fn packed_gate_and_up() {
    for (cut, act) in [
        ("g, u = Split(a)", "Sigmoid"),
        ("g = Slice(a, ZERO, HALF)\n u = Slice(a, HALF, END)", "Sigmoid"),
        ("g = Slice(a, ZERO, END, AXIS, STEP)\n u = Slice(a, ONE, END, AXIS, STEP)", "Tanh"),
    ] {
        check(
            &format!(
                "x => y
                 a = MatMul(x, A:8x32)
                 {cut}
                 s = {act}(g)
                 t = Mul(g, s)
                 h = Mul(t, u)
                 c = MatMul(h, C:16x8)
                 y = Add(x, c)"
            ),
            "a gate_up, c down",
        );
    }
}

#[test]
fn plain_mlp() {
    for act in ["PRelu", "com.microsoft.FastGelu", "com.microsoft.BiasGelu"] {
        check(
            &format!(
                "x => y
                 a = MatMul(x, A:8x16)
                 h = {act}(a, BIAS)
                 c = MatMul(h, C:16x8)
                 z = Add(c, BIAS2)
                 r = Add(z, x)
                 y = LayerNormalization(r, GAIN)"
            ),
            "a fc1, c fc2",
        );
    }
}

/// The stream in another type, no stream at all, and an activation inside the first product's node.
#[test]
fn plain_mlp_elsewhere() {
    check(
        "x => y
         x32 = Cast(x)
         a = MatMul(x, A:8x8)
         h = Relu(a)
         c = MatMul(h, C:8x8)
         y = Add(x32, c)",
        "a fc1, c fc2",
    );
    check("x => y\n a = MatMul(x, A:8x16)\n h = Relu(a)\n y = MatMul(h, C:16x8)", "a fc1, y fc2");
    check(
        "x => y
         a = FusedGemm<activation='Relu'>(x, A:8x16)
         c = MatMul(a, C:16x8)
         y = Add(x, c)",
        "a fc1, c fc2",
    );
}

/// One residual sum for both, whichever is added first.
#[test]
fn parallel_attention_and_mlp() {
    for sum in ["s = Add(d, c)\n y = Add(s, x)", "s = Add(x, d)\n y = Add(c, s)"] {
        check(
            &format!(
                "x => y
                 n = LayerNormalization(x, GAIN)
                 q = MatMul(n, Q:8x24)
                 q1, q2, q3 = Split(q)
                 scores = MatMul(q1, q2)
                 p = Softmax(scores)
                 ctx = MatMul(p, q3)
                 d = MatMul(ctx, D:8x8)
                 a = MatMul(n, A:8x8)
                 h = Gelu(a)
                 c = MatMul(h, C:8x8)
                 {sum}"
            ),
            "q qkv, d o, a fc1, c fc2",
        );
    }
}

#[test]
fn heads() {
    let head = |nodes: &str, roles| {
        let roles = format!("a fc1, c fc2, {roles}");
        check(
            &format!(
                "ids => y
                 x = Gather(WORDS:50x8, ids)
                 a = MatMul(x, A:8x16)
                 h = Relu(a)
                 c = MatMul(h, C:16x8)
                 s = Add(x, c)
                 {nodes}"
            ),
            &roles,
        );
    };
    head("y = MatMul(s, L:8x32)", "y lm_head");
    head("y = MatMul(s, L:8x2)", "y classifier");
    head("t = Gather(s, LAST)\n y = MatMul(t, L:8x50)", "y lm_head");
    head("t = Gather(s, LAST)\n y = MatMul(t, L:8x40)", "y classifier");
    head("t = ReduceMean(s, AXES)\n y = MatMul(t, L:8x4)", "y classifier");
    head("t = Gather(s, FIRST)\n p = Gemm(t, P:8x8)\n y = Tanh(p)", "p pooler");
    head(
        "t = Gather(s, FIRST)\n p = Gemm(t, P:8x8)\n u = Relu(p)\n y = Gemm(u, L:8x40)",
        "p pooler, y classifier",
    );
    head(
        "p = MatMul(s, P:8x8)\n u = Gelu(p)\n n = LayerNormalization(u, GAIN)\n y = MatMul(n, L:8x50)",
        "p other, y lm_head",
    );
    head("l = MatMul(s, L:8x2)\n y = ArgMax(l)", "l classifier");
    head(
        "fc1 = MatMul(s, P:8x8)\n u = Gelu(fc1)\n y = MatMul(u, L:8x2)",
        "fc1 other, y classifier",
    );
    head(
        "e = Cast(TABLE:60x8)\n z = Gather(e, ids)\n w = Transpose<perm=1,0>(TABLE)\n t = Gather(s, LAST)\n y = MatMul(t, w, TIED:8x60)",
        "y lm_head",
    );
}

#[test]
fn embedding_projection() {
    check(
        "ids => y
         e = Gather(WORDS:50x4, ids)
         a = MatMul(e, A:4x8)
         q = MatMul(a, Q:8x24)
         q1, q2, q3 = Split(q)
         scores = MatMul(q1, q2)
         p = Softmax(scores)
         ctx = MatMul(p, q3)
         d = MatMul(ctx, D:8x8)
         y = Add(a, d)",
        "a embedding, q qkv, d o",
    );
    check(
        "ids => y
         e = Gather(WORDS:50x4, ids)
         a = MatMul(e, A:4x8)
         ctx = Attention(a, Q:8x24, BIAS)
         d = MatMul(ctx, D:8x8)
         y = Add(a, d)",
        "a embedding, d o",
    );
}

#[test]
fn mixture_of_experts() {
    check(
        "x => y
         r = MatMul(x, R:8x4)
         probs = Softmax(r)
         weights, experts = TopK(probs, TWO)
         hit = Equal(experts, ONE)
         at = NonZero(hit)
         t = GatherND(x, at)
         a = MatMul(t, A:8x16)
         b = MatMul(t, B:8x16)
         s = Sigmoid(a)
         g = Mul(a, s)
         h = Mul(g, b)
         c = MatMul(h, C:16x8)
         w = GatherND(weights, at)
         o = Mul(c, w)
         sum = ScatterND(ZEROS, at, o)
         e = MatMul(x, E:8x16)
         f = MatMul(x, F:8x16)
         es = Sigmoid(e)
         eg = Mul(e, es)
         i = Mul(eg, f)
         j = MatMul(i, J:16x8)
         both = Add(sum, j)
         y = Add(x, both)",
        "r router, a expert_gate, b expert_up, c expert_down, e gate, f up, j down",
    );
}

/// Experts that see every token and are weighed after it, and one that is chosen and not weighed.
#[test]
fn experts_weighed_or_chosen() {
    let moe = |input: &str, output: &str| {
        check(
            &format!(
                "x => y
                 r = MatMul(x, R:8x4)
                 weights, experts = TopK(r, TWO)
                 t = {input}
                 a = MatMul(t, A:8x32)
                 g, u = Split(a)
                 s = Sigmoid(g)
                 gs = Mul(g, s)
                 h = Mul(gs, u)
                 c = MatMul(h, C:16x8)
                 o = {output}
                 y = Add(x, o)"
            ),
            "r router, a gate_up, c expert_down",
        );
    };
    moe("Identity(x)", "Mul(c, weights)");
    moe("GatherND(x, experts)", "ScatterND(ZEROS, experts, c)");
}

#[test]
fn low_rank_branch() {
    check(
        "x lambda => y
         a = MatMul(x, A:8x16)
         v = MatMul(x, V:8x2)
         u = MatMul(v, U:2x16)
         l = Mul(u, lambda)
         s = Add(a, l)
         h = Relu(s)
         c = MatMul(h, C:16x8)
         y = Add(x, c)",
        "a fc1, v low_rank, u low_rank, c fc2",
    );
}

/// What an adapter is beside has a correction already.
#[test]
fn low_rank_branches_of_a_sum() {
    check(
        "x => y
         a = MatMul(x, A:8x16)
         v = MatMul(x, V:8x2)
         u = MatMul(v, U:2x16)
         s = Add(a, u)
         p = MatMul(x, P:8x3)
         q = MatMul(p, Q:3x16)
         t = Add(s, q)
         h = Relu(t)
         c = MatMul(h, C:16x8)
         y = Add(x, c)",
        "a fc1, v low_rank, u low_rank, p low_rank, q low_rank, c fc2",
    );
}

/// The projection of a state space's input is no second half of an MLP: what its result is added to was made
/// within the block.
#[test]
fn state_space() {
    check(
        "x => y
         p = MatMul(x, P:8x32)
         h, z = Split(p)
         g = Sigmoid(h)
         a = Mul(h, g)
         b = MatMul(a, B:16x6)
         l, r = Split(b)
         w = Mul(l, a)
         state = CumSum(w, AXIS)
         read = Mul(state, r)
         through = Mul(a, D)
         o = Add(read, through)
         zg = Sigmoid(z)
         zs = Mul(z, zg)
         gated = Mul(o, zs)
         m = MatMul(gated, M:16x8)
         y = Add(x, m)",
        "p embedding, b other, m other",
    );
}

/// Two factors with nothing beside them are the projection, and an adapter is not linear.
#[test]
fn no_low_rank_branch() {
    check(
        "x => y
         v = MatMul(x, V:8x2)
         u = MatMul(v, U:2x16)
         h = Relu(u)
         c = MatMul(h, C:16x8)
         y = Add(x, c)",
        "v other, u fc1, c fc2",
    );
    check(
        "x => y
         a = MatMul(x, A:8x8)
         v = MatMul(x, V:8x2)
         r = Relu(v)
         u = MatMul(r, U:2x8)
         s = Add(a, u)
         y = Add(x, s)",
        "a other, v fc1, u fc2",
    );
}

/// Fake-quantised activations, and products whose scales come after them.
#[test]
fn trained_bitlinear() {
    check(
        "x => y
         ax = Abs(x)
         mx = ReduceMax(ax)
         gx = Clip(mx, EPS)
         fx = Div(RANGE, gx)
         ux = Mul(x, fx)
         vx = Round(ux)
         qx = Clip(vx, LOW, HIGH)
         a = MatMul(qx, A:8x24)
         sa = Div(a, fx)
         q, k, v = Split(sa)
         ctx = Attention(q, k, v)
         ac = Abs(ctx)
         mc = ReduceMax(ac)
         fc = Div(RANGE, mc)
         uc = Mul(ctx, fc)
         vc = Round(uc)
         d = MatMul(vc, D:8x8)
         sd = Div(d, fc)
         y = Add(x, sd)",
        "a qkv, d o",
    );
}

/// Without a Softmax nothing tells queries from keys but their names.
#[test]
fn names_where_the_structure_is_silent() {
    let linear = |a: &str, b: &str| {
        format!(
            "x => y
             {a} = MatMul(x, A:8x8)
             {b} = MatMul(x, B:8x8)
             scores = MatMul({a}, {b})
             y = Add(x, scores)"
        )
    };
    check(&linear("q_proj", "k_proj"), "q_proj q, k_proj k");
    check(&linear("a", "b"), "a other, b other");
    check(
        "x => y
         a = MatMul(x, A:8x8)
         b = MatMul(x, B:8x8)
         c = Add(a, k_proj.bias:8)
         d = Add(b, k_proj.bias)
         scores = MatMul(c, d)
         y = Add(x, scores)",
        "a other, b other",
    );
}

#[test]
fn damaged_graphs() {
    check("x => y\n a = Cast(b)\n b = Cast(a)\n y = Add(a, c)\n c = MatMul(b, C:8x8)", "c other");
    check("x => y\n y = MatMul(y, Y:8x8)", "y other");
    check("x => y\n s = Softmax(s)\n s = Add(s, s)\n y = MatMul(s, s)", "");
    let model = ModelProto::default();
    let lost = GraphId::MAIN.node(7);
    let lost = Site { node: lost, input: "a", output: "b", in_features: 1, out_features: 1 };
    let graphs = Graphs::of(&model);
    let found = roles::find(graphs.main(), &graphs.constants(GraphId::MAIN), &[lost]);
    assert_eq!(found, [Role::Other]);
}

/// Finds the roles of a graph's products with stored matrices, as `product role, …` in graph order.
fn check(text: &str, expected: &str) {
    let model = crate::model_of(&parse(text));
    let graphs = Graphs::of(&model);
    let dims = |name: &String| {
        let tensor = graphs.main().initializer(name)?;
        <[i64; 2]>::try_from(&tensor.dims[..]).ok()
    };
    let products = graphs.main().nodes().filter_map(|(node, proto)| {
        let multiplies = matches!(proto.op_type(), "MatMul" | "Gemm" | "FusedGemm");
        let [k, n] = proto.input.iter().find_map(dims).filter(|_| multiplies)?;
        Some(Site {
            node,
            input: &proto.input[0],
            output: &proto.output[0],
            in_features: k as usize,
            out_features: n as usize,
        })
    });
    let sites: Vec<Site> = products.collect();
    let roles = roles::find(graphs.main(), &graphs.constants(GraphId::MAIN), &sites);
    let found: Vec<String> =
        sites.iter().zip(roles).map(|(site, role)| format!("{} {role}", site.output)).collect();
    assert_eq!(found.join(", "), expected, "in\n{text}");
}

/// `inputs => outputs`, then a node a line: `y, z = Op<attribute=1,2>(x, W:8x16)`. What begins with a
/// capital or has dims behind a colon is stored.
fn parse(text: &str) -> GraphProto {
    let mut lines = text.lines().map(str::trim);
    let (inputs, outputs) = lines.next().unwrap().split_once(" => ").unwrap();
    let values = |names: &str| -> Vec<ValueInfoProto> {
        let each = names.split(' ');
        each.map(|n| ValueInfoProto { name: Some(n.into()), ..Default::default() }).collect()
    };
    let mut graph =
        GraphProto { input: values(inputs), output: values(outputs), ..Default::default() };
    for line in lines {
        let (outputs, call) = line.split_once(" = ").unwrap();
        let (head, operands) = call.strip_suffix(')').unwrap().split_once('(').unwrap();
        let (op, attribute) = head.split_once('<').unwrap_or((head, ""));
        let (domain, op) = op.rsplit_once('.').unwrap_or(("", op));
        graph.node.push(NodeProto {
            op_type: Some(op.into()),
            domain: Some(domain.into()),
            name: Some(outputs.into()),
            input: operands
                .split(", ")
                .map(|o| operand(o.trim(), &mut graph.initializer))
                .collect(),
            output: outputs.split(", ").map(String::from).collect(),
            attribute: attribute.strip_suffix('>').map(attribute_of).into_iter().collect(),
            ..Default::default()
        });
    }
    graph
}

fn operand(text: &str, stored: &mut Vec<TensorProto>) -> String {
    let (name, dims) = text.split_once(':').unwrap_or((text, ""));
    let is_stored = name.starts_with(char::is_uppercase) || text.contains(':');
    if is_stored && !stored.iter().any(|t| t.name() == name) {
        let dims: Vec<usize> = dims.split('x').filter_map(|d| d.parse().ok()).collect();
        let halves = vec![0.5f32; dims.iter().product()];
        stored.push(Array::from_vec(&dims, halves).unwrap().to_tensor(name));
    }
    name.into()
}

fn attribute_of(text: &str) -> AttributeProto {
    let (name, value) = text.split_once('=').unwrap();
    let attribute = AttributeProto { name: Some(name.into()), ..Default::default() };
    match value.strip_prefix('\'') {
        Some(text) => {
            AttributeProto { s: Some(text.trim_matches('\'').as_bytes().to_vec()), ..attribute }
        }
        None => AttributeProto {
            ints: value.split(',').map(|v| v.parse().unwrap()).collect(),
            ..attribute
        },
    }
}

fn fixtures() -> Vec<PathBuf> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let mut folders: Vec<PathBuf> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join("facts.json").is_file());
    folders.sort();
    assert!(!folders.is_empty());
    folders
}

fn read(folder: &Path) -> (ModelProto, Vec<Fact>) {
    let bytes = fs::read(folder.join("model.onnx")).unwrap();
    let model = proto::decode(bytes.into(), "model.onnx").unwrap();
    let facts = fs::read_to_string(folder.join("facts.json")).unwrap();
    let facts = facts_of(&model, &serde_json::from_str(&facts).unwrap());
    (model, facts)
}

fn facts_of(model: &ModelProto, facts: &serde_json::Value) -> Vec<Fact> {
    let mut by_node = BTreeMap::<(usize, usize), Fact>::new();
    let size = |value: &serde_json::Value| value.as_u64().unwrap() as usize;
    for linear in facts["linears"].as_array().unwrap() {
        let cross = linear["cross"].as_bool().unwrap_or_default();
        let packed = linear.get("packed").is_some();
        let role = if packed { "qkv" } else { linear["role"].as_str().unwrap() };
        let more = linear["more_sites"].as_array().into_iter().flatten();
        let mut names: Vec<&str> =
            std::iter::once(linear).chain(more).map(|s| s["node"].as_str().unwrap()).collect();
        names.dedup();
        for (graph, contents) in graphs(model.graph.as_ref().unwrap()).into_iter().enumerate() {
            let all = contents.node.iter().enumerate();
            for (node, proto) in all.filter(|(_, n)| names.contains(&n.name())) {
                let fact = by_node.entry((graph, node)).or_insert_with(|| Fact {
                    graph,
                    node,
                    name: proto.name().to_owned(),
                    weight_input: linear["weight_input"].as_u64().unwrap_or(1) as usize,
                    in_features: size(&linear["in"]),
                    out_features: 0,
                    role: format!("{}{role}", if cross { "cross_" } else { "" }),
                });
                fact.out_features += size(&linear["out"]);
            }
        }
    }
    by_node.into_values().collect()
}

/// The graphs of a model, each before those nested in it.
fn graphs(graph: &GraphProto) -> Vec<&GraphProto> {
    let inner = graph.node.iter().flat_map(NodeProto::graphs).flat_map(graphs);
    std::iter::once(graph).chain(inner).collect()
}

fn mistakes(folder: &Path, model: &ModelProto, facts: &[Fact]) -> Vec<String> {
    let fixture = folder.file_name().unwrap().display();
    let mut wrong = Vec::new();
    let graphs = Graphs::of(model);
    for (index, view) in graphs.iter().enumerate() {
        let here: Vec<&Fact> = facts.iter().filter(|f| f.graph == index).collect();
        let sites: Vec<Site> = here.iter().map(|fact| site(view, fact)).collect();
        for (fact, role) in here.iter().zip(roles::find(view, &graphs.constants(view.id()), &sites))
        {
            if !accepted(fact, role) {
                wrong.push(format!("{fixture}: {} is {}, found {role}", fact.name, fact.role));
            }
        }
    }
    wrong
}

fn site<'m>(view: &View<'m>, fact: &Fact) -> Site<'m> {
    let id = view.id().node(fact.node);
    let node = view.node(id);
    let input = if node.op_type() == "Attention" { 0 } else { 1 - fact.weight_input };
    Site {
        node: id,
        input: &node.input[input],
        output: &node.output[0],
        in_features: fact.in_features,
        out_features: fact.out_features,
    }
}

/// A dense layer of a head has no name that all agree on.
fn accepted(fact: &Fact, role: Role) -> bool {
    let said = role.to_string();
    match fact.role.as_str() {
        "pre_classifier" => ["classifier", "pooler", "other"].contains(&said.as_str()),
        expected => said == expected,
    }
}

/// Gives every node, value and stored tensor a name that means nothing, and drops all texts.
fn scramble(model: &mut ModelProto) {
    model.metadata_props.clear();
    model.doc_string = None;
    scramble_graph(model.graph.as_mut().unwrap());
}

fn scramble_graph(graph: &mut GraphProto) {
    graph.name = Some("g".into());
    graph.doc_string = None;
    graph.metadata_props.clear();
    for node in &mut graph.node {
        rename_each(&mut node.input);
        rename_each(&mut node.output);
        rename(node.name.get_or_insert_default());
        node.doc_string = None;
        node.metadata_props.clear();
        for attribute in &mut node.attribute {
            attribute.g.as_mut().map(scramble_graph);
            attribute.graphs.iter_mut().for_each(scramble_graph);
            if let Some(tensor) = &mut attribute.t {
                tensor.name = None;
            }
        }
    }
    for tensor in &mut graph.initializer {
        rename(tensor.name.get_or_insert_default());
        tensor.doc_string = None;
        tensor.metadata_props.clear();
    }
    for value in graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info) {
        rename(value.name.get_or_insert_default());
        value.doc_string = None;
        value.metadata_props.clear();
    }
}

fn rename_each(names: &mut [String]) {
    names.iter_mut().filter(|name| !name.is_empty()).for_each(rename);
}

/// The same new name for the same old one (FNV-1a).
fn rename(name: &mut String) {
    let digest = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    *name = format!("x{digest:016x}");
}
