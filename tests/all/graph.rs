//! Graphs as they are checked and changed: names, scopes, and what a rewrite leaves behind.

use bitonnx::{
    graph::{captured, check},
    proto::{
        self, GraphProto, ModelProto, SparseTensorProto, StringStringEntryProto, TensorProto,
        TrainingInfoProto,
    },
    report::{Action, Report},
    rewrite::{Filter, Options, rewrite},
    rules::recipe,
    text,
};

const WEIGHT: &str =
    "{0.01, -0.32, -0.19, 0.03, 0.45, -0.33, 0.20, -0.27, -0.01, -0.38, -0.42, -0.11}";

/// A model from the text of its graph, in which `W` stands for the elements of a 4 × 3 weight.
#[track_caller]
fn model(graph: &str) -> ModelProto {
    let header = "<ir_version: 8, opset_import: [\"\" : 17]>\n";
    let text = header.to_owned() + &graph.replace("{W}", WEIGHT);
    text::parse_model(&text).unwrap_or_else(|e| panic!("{e}"))
}

/// The model with every projection converted, and what was done to it.
#[track_caller]
fn rewritten(source: ModelProto) -> (ModelProto, Report) {
    let options = Options::default().with(|o| {
        o.filters = vec![Filter::new(true, "").unwrap()];
        o.allow_unmatched = true;
    });
    let result = rewrite(source, &recipe(), &options, &mut |_, _| {}).unwrap();
    (result.model, result.report)
}

/// The names of a graph's initializers.
fn stored(graph: &GraphProto) -> Vec<&str> {
    graph.initializer.iter().map(|t| t.name()).collect()
}

/// The operators of a graph's nodes.
fn operators(graph: &GraphProto) -> Vec<&str> {
    graph.node.iter().map(|n| n.op_type()).collect()
}

#[test]
fn initializers_of_a_branch_go_with_their_projection() {
    let source = model(
        "g (bool c, float[m, 4] x) => (float[m, 3] y) {
           y = If (c) <
             then_branch = then () => (float[m, 3] t) <float[4, 3] w = {W}, float[1] spare = {1.0}>
               { t = MatMul (x, w) },
             else_branch = other () => (float[m, 3] e) <float[4, 3] w = {W}>
               { p = MatMul (x, w)
                 s = ReduceSum (w)
                 e = Add (p, s) }>
         }",
    );
    let (after, _) = rewritten(source);
    let graphs = proto::graphs(&after);
    assert_eq!(stored(graphs[1]), ["spare"], "what nothing read before stays");
    assert_eq!(stored(graphs[2]), ["w"], "what something else reads stays");
}

#[test]
fn nodes_that_only_a_rewritten_branch_read_go() {
    let source = model(
        "g (bool c, float[m, 4] x) => (float[m, 3] y)
         <float[3, 4] w = {W}, float[3, 4] v = {W}, float[3, 4] spare = {W}>
         {
           wt = Transpose (w)
           vt = Transpose (v)
           unread = Transpose (spare)
           y = If (c) <
             then_branch = then () => (float[m, 3] t) { t = MatMul (x, wt) },
             else_branch = other () => (float[m, 3] e)
               { p = MatMul (x, vt)
                 s = ReduceSum (vt)
                 e = Add (p, s) }>
         }",
    );
    let (after, _) = rewritten(source);
    let graph = after.graph.as_ref().unwrap();
    assert_eq!(operators(graph), ["Transpose", "Transpose", "If"]);
    assert_eq!(stored(graph)[..2], ["v", "spare"]);
}

#[test]
fn a_name_of_a_branch_is_not_the_outer_one() {
    let source = model(
        "g (bool c, float[m, 4] x) => (float[m, 3] y)
         <float[4, 3] w = {W}, float[4, 3] shadow = {W}>
         {
           y = If (c) <
             then_branch = then () => (float[m, 3] t) <float[4, 3] shadow = {W}>
               { t = MatMul (x, shadow) },
             else_branch = other () => (float[m, 3] e) { e = MatMul (x, w) }>
         }",
    );
    let (after, _) = rewritten(source);
    let graphs = proto::graphs(&after);
    assert_eq!(stored(graphs[0])[0], "shadow", "the outer one was never read");
    assert_eq!(stored(graphs[1]), [""; 0]);
    assert!(!stored(graphs[0]).contains(&"w"));
}

#[test]
fn what_training_reads_stays() {
    let source = |training: TrainingInfoProto| {
        let graph =
            "g (float[m, 4] x) => (float[m, 3] y) <float[4, 3] w = {W}> { y = MatMul (x, w) }";
        let model = ModelProto { training_info: vec![training], ..model(graph) };
        let (after, _) = rewritten(model);
        stored(after.graph.as_ref().unwrap()).contains(&"w")
    };
    let step = |text: &str| model(text).graph;
    let entry = |key: &str, value: &str| StringStringEntryProto {
        key: Some(key.into()),
        value: Some(value.into()),
    };
    assert!(!source(TrainingInfoProto::default()));
    assert!(source(TrainingInfoProto {
        algorithm: step("step () => (float[4, 3] next) { next = Neg (w) }"),
        ..Default::default()
    }));
    assert!(source(TrainingInfoProto {
        algorithm: step(
            "step (bool c) => (float[4, 3] next)
             { next = If (c) <then_branch = a () => (float[4, 3] p) { p = Neg (w) },
                              else_branch = b () => (float[4, 3] q) { q = Abs (z) }> }"
        ),
        ..Default::default()
    }));
    assert!(source(TrainingInfoProto {
        initialization_binding: vec![entry("w", "start")],
        ..Default::default()
    }));
    assert!(source(TrainingInfoProto {
        update_binding: vec![entry("w", "next")],
        ..Default::default()
    }));
}

#[test]
fn values_stored_or_given_twice_are_refused() {
    let one = |name: &str| TensorProto {
        name: Some(name.into()),
        dims: vec![1],
        data_type: Some(1),
        raw_data: Some(vec![0; 4].into()),
        ..TensorProto::default()
    };
    let sparse = |name: &str| SparseTensorProto { values: Some(one(name)), ..Default::default() };
    let text = "g (float[1] x) => (float[1] y) <float[1] w = {1.0}> { y = Add (x, w) }";
    let base = model(text);
    assert_eq!(check(&base), Ok(()));
    let with = |change: &dyn Fn(&mut GraphProto)| {
        let mut model = base.clone();
        change(model.graph.as_mut().unwrap());
        check(&model)
    };
    let twice = Err("the graph stores `w` a second time".to_owned());
    assert_eq!(with(&|g| g.initializer.push(one("w"))), twice);
    assert_eq!(with(&|g| g.sparse_initializer.push(sparse("w"))), twice);
    assert!(with(&|g| g.initializer.push(one("y"))).unwrap_err().contains("makes `y` a second"));
    let input = |g: &mut GraphProto| g.input.push(g.input[0].clone());
    assert_eq!(with(&input), Err("the graph has the input `x` a second time".to_owned()));
    let default = |g: &mut GraphProto| g.initializer.push(one("x"));
    assert_eq!(with(&default), Ok(()), "the default of an input");
}

#[test]
fn names_of_a_branch_end_with_it() {
    let branches = |outer: &str| {
        check(&model(&format!(
            "g (bool c, float[1] x) => (float[1] y) {{
               z = If (c) <then_branch = then () => (float[1] t) <float[1] w = {{1.0}}>
                             {{ a = Add (x, w) t = Neg (a) }},
                           else_branch = other () => (float[1] e) <float[1] w = {{1.0}}>
                             {{ a = Mul (x, w) e = Neg (a) }}>
               y = Add (z, {outer})
             }}"
        )))
    };
    assert_eq!(branches("x"), Ok(()));
    for inner in ["a", "w"] {
        let why = branches(inner).unwrap_err();
        assert!(why.contains(&format!("reads `{inner}`, which nothing before it makes")), "{why}");
    }
    // An initializer of a branch may have an outer one's name, and takes nothing from it.
    let shadow = "g (bool c) => (float[1] y) <float[1] w = {1.0}> {
                    z = If (c) <then_branch = a () => (float[1] t) <float[1] w = {2.0}> { t = Neg (w) },
                                else_branch = b () => (float[1] e) { e = Neg (w) }>
                    y = Add (z, w)
                  }";
    assert_eq!(check(&model(shadow)), Ok(()));
}

#[test]
fn sparse_values_of_a_branch_are_not_captured() {
    let mut source = model(
        "g (bool c, float[1] x) => (float[1] y) {
           y = If (c) <then_branch = a () => (float[1] t) { t = Add (x, s) },
                       else_branch = b () => (float[1] e) { e = Neg (x) }>
         }",
    );
    let node = &mut source.graph.as_mut().unwrap().node[0];
    let values = TensorProto { name: Some("s".into()), ..TensorProto::default() };
    let sparse = SparseTensorProto { values: Some(values), ..SparseTensorProto::default() };
    node.attribute[0].g.as_mut().unwrap().sparse_initializer.push(sparse);
    assert_eq!(captured(node), ["x"]);
}

/// A projection whose weight is a graph input too.
fn listed(ir_version: i64) -> ModelProto {
    let mut model = model(
        "g (float[m, 4] x, float[3, 4] w) => (float[m, 3] y)
         <float[3] b = {0.1, 0.2, 0.3}> { wt = Transpose (w) [proj] p = MatMul (x, wt) y = Add (p, b) }",
    );
    let graph = model.graph.as_mut().unwrap();
    let data: Vec<u8> = (0..12).flat_map(|i| (i as f32 - 5.5).to_le_bytes()).collect();
    graph.initializer.push(TensorProto {
        name: Some("w".into()),
        dims: vec![3, 4],
        data_type: Some(1),
        raw_data: Some(data.into()),
        ..TensorProto::default()
    });
    model.ir_version = Some(ir_version);
    model
}

#[test]
fn a_weight_that_a_caller_may_replace_is_kept_with_the_reason() {
    let (after, report) = rewritten(listed(8));
    assert_eq!(after, listed(8));
    let [entry] = &report.projections[..] else { panic!("{:?}", report.projections) };
    assert_eq!((entry.node.as_str(), entry.action), ("proj", Action::Keep));
    let why = "its weight `w` is a graph input with a default: a caller may replace it";
    assert!(entry.reason.starts_with(why), "{}", entry.reason);
}

#[test]
fn a_weight_that_had_to_be_listed_as_an_input_is_constant() {
    let (after, report) = rewritten(listed(3));
    assert_eq!(report.projections[0].action, Action::BitLinear, "{}", report.projections[0].reason);
    let graph = after.graph.as_ref().unwrap();
    let inputs: Vec<&str> = graph.input.iter().map(|i| i.name()).collect();
    assert_eq!(inputs, ["x"]);
    assert!(!stored(graph).contains(&"w"));
    assert_eq!(operators(graph), ["BitLinear", "Add"]);
}
