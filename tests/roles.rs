//! Roles found in real exports, with and without their names.

use bitonnx::{
    graph::{View, nested_graphs},
    proto::{self, GraphProto, ModelProto},
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

fn fixtures() -> Vec<PathBuf> {
    let root = std::env::var("BITONNX_FIXTURES")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures").into());
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
    let inner = graph.node.iter().flat_map(nested_graphs).flat_map(graphs);
    std::iter::once(graph).chain(inner).collect()
}

fn mistakes(folder: &Path, model: &ModelProto, facts: &[Fact]) -> Vec<String> {
    let fixture = folder.file_name().unwrap().display();
    let mut wrong = Vec::new();
    visit(&View::new(model.graph.as_ref().unwrap()), &mut 0, &mut |view, graph| {
        let here: Vec<&Fact> = facts.iter().filter(|f| f.graph == graph).collect();
        let sites: Vec<Site> = here.iter().map(|fact| site(view.graph(), fact)).collect();
        for (fact, role) in here.iter().zip(roles::find(view, &sites)) {
            if !accepted(fact, role) {
                wrong.push(format!("{fixture}: {} is {}, found {role}", fact.name, fact.role));
            }
        }
    });
    wrong
}

fn visit<'m>(view: &'m View<'m>, graph: &mut usize, each: &mut dyn FnMut(&View, usize)) {
    each(view, *graph);
    for inner in view.graph().node.iter().flat_map(nested_graphs) {
        *graph += 1;
        visit(&View::nested(inner, view), graph, each);
    }
}

fn site<'m>(graph: &'m GraphProto, fact: &Fact) -> Site<'m> {
    let node = &graph.node[fact.node];
    let input = if node.op_type() == "Attention" { 0 } else { 1 - fact.weight_input };
    Site {
        node: fact.node,
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
