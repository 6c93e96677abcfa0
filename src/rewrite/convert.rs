//! From a projection to the nodes and initializers of a BitLinear.

use super::{
    function::DOMAIN,
    names::Names,
    options::{Granularity, Options},
    rule::{PART_SIZES, Projection},
    survey::Site,
};
use crate::{
    graph::Patch,
    proto::{
        AttributeProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto,
        attribute_proto::AttributeType, opset, tensor_proto::DataType,
    },
    quant::{self, Storage, Ternary},
};
use std::{collections::HashMap, ops::Range};

/// Converts one projection after another, and holds the initializers that come with them.
pub(super) struct Converter<'o> {
    options: &'o Options,
    opset: i64,
    /// Whether nodes can say where they come from: from IR version 10 on.
    provenance: bool,
    names: Names,
    /// What the file gets, in the order in which it was needed.
    pub initializers: Vec<TensorProto>,
    /// The weights stored so far, by the name of their source.
    stored: HashMap<String, Vec<Stored>>,
}

/// A ternarised weight that the file has already.
struct Stored {
    weight: Ternary,
    codes: String,
    scale: String,
}

/// A projection's patch, with the figures for its report.
pub(super) struct Converted {
    pub patch: Patch,
    /// The mean of its scales.
    pub scale: f32,
    /// The share of its codes that are zero.
    pub zeros: f64,
    /// Whether the weight was ternary already.
    pub exact: bool,
    /// Bytes of codes and scales.
    pub bytes: u64,
}

impl<'o> Converter<'o> {
    pub fn new(model: &ModelProto, options: &'o Options) -> Self {
        Converter {
            options,
            opset: opset(model),
            provenance: model.ir_version() >= 10,
            names: Names::of(model),
            initializers: Vec::new(),
            stored: HashMap::new(),
        }
    }

    /// The conversion, or why the weight has none.
    pub fn convert(
        &mut self,
        graph: &GraphProto,
        site: &Site,
        projection: &Projection,
    ) -> Result<Converted, String> {
        let weight = self.ternarize(site, projection)?;
        let scales = weight.scale.len() as f32;
        let scale = weight.scale.iter().sum::<f32>() / scales;
        let (zeros, exact) = (weight.zeros as f64, weight.exact);
        let elements = (weight.n * weight.k).max(1) as f64;
        let bytes = (weight.codes.len() + 4 * weight.scale.len()) as u64;
        let (codes, scales) = self.store(&projection.weight.name, weight);
        let nodes = self.instantiate(graph, site, projection, &codes, &scales);
        let patch = Patch { root: site.root, nodes };
        Ok(Converted { patch, scale, zeros: zeros / elements, exact, bytes })
    }

    fn ternarize(&self, site: &Site, projection: &Projection) -> Result<Ternary, String> {
        let weight = &projection.weight;
        let groups = match self.options.granularity {
            Granularity::Channel => (0..weight.n).map(|row| row..row + 1).collect(),
            Granularity::Tensor => groups(&site.part_sizes, weight.n),
        };
        let mut ternary = weight
            .matrix()
            .and_then(|matrix| quant::ternarize(&matrix, &groups))
            .map_err(|e| format!("its weight `{}` can't be ternarised: {e}", weight.name))?;
        ternary.scale.iter_mut().for_each(|s| *s *= projection.factor);
        Ok(ternary)
    }

    /// Names of the weight's codes and scales, which are stored once however often they are read.
    fn store(&mut self, source: &str, weight: Ternary) -> (String, String) {
        let known = self.stored.entry(source.to_owned()).or_default();
        if let Some(stored) = known.iter().find(|s| s.weight == weight) {
            return (stored.codes.clone(), stored.scale.clone());
        }
        let codes = self.names.fresh(source, "codes");
        let scale = self.names.fresh(source, "scale");
        let dims = [weight.n, weight.k.div_ceil(4)];
        self.initializers.push(tensor(&codes, DataType::Uint8, &dims, weight.codes.clone()));
        let bytes = weight.scale.iter().flat_map(|s| s.to_le_bytes()).collect();
        self.initializers.push(tensor(&scale, DataType::Float, &[weight.scale.len()], bytes));
        known.push(Stored { weight, codes: codes.clone(), scale: scale.clone() });
        (codes, scale)
    }

    /// The rule's template with the graph's names in it.
    fn instantiate(
        &mut self,
        graph: &GraphProto,
        site: &Site,
        projection: &Projection,
        codes: &str,
        scale: &str,
    ) -> Vec<NodeProto> {
        let source = &graph.node[site.node];
        let root = &graph.node[site.root];
        let base = root.output.first().map_or("", String::as_str);
        let mut values = site.bound.values.clone();
        values.insert("x".into(), projection.input.clone());
        values.insert("codes".into(), codes.into());
        values.insert("scale".into(), scale.into());
        let mut nodes = Vec::new();
        for template in &site.rule.template {
            let mut node = template.clone();
            node.name = self.node_name(source, template.name());
            for output in &mut node.output {
                let fresh = || self.names.fresh(base, output);
                *output = values.entry(output.clone()).or_insert_with(fresh).clone();
            }
            node.input.iter_mut().for_each(|input| *input = values[input.as_str()].clone());
            self.annotate(&mut node, source, site);
            if node.domain() == DOMAIN {
                node.attribute = vec![
                    int_attribute("in_features", projection.weight.k),
                    float_attribute("eps", projection.eps),
                ];
                nodes.extend(self.cast(node, projection));
            } else {
                node.attribute = resolve(node.attribute, site, projection.weight.n);
                nodes.push(node);
            }
        }
        nodes
    }

    /// The source node's name for the product, with the part's name appended for the others.
    fn node_name(&mut self, source: &NodeProto, part: &str) -> Option<String> {
        match (source.name(), part) {
            ("", _) => None,
            (name, "") => Some(name.into()),
            (name, part) => Some(self.names.fresh(name, part)),
        }
    }

    /// What the source said about the node, its rule and its name there.
    fn annotate(&self, node: &mut NodeProto, source: &NodeProto, site: &Site) {
        node.doc_string = source.doc_string.clone();
        node.metadata_props = source.metadata_props.clone();
        if self.provenance {
            node.metadata_props.push(entry("bitonnx.rule", site.rule.name()));
            node.metadata_props.push(entry("bitonnx.source", &site.name));
        }
    }

    /// The product with the `Cast`s that it needs, so that its output has the type that the source's
    /// had, the weight's: before opset 15 its definition can't cast back to its input's type, and the
    /// input of a model that quantises in f32 may have another one.
    fn cast(&mut self, mut node: NodeProto, projection: &Projection) -> Vec<NodeProto> {
        let to = match projection.weight.storage {
            Storage::F32 => DataType::Float,
            Storage::F16 => DataType::Float16,
            Storage::Bf16 => DataType::Bfloat16,
        };
        let back = self.opset < 15 && to != DataType::Float;
        if !back && !projection.casts {
            return vec![node];
        }
        let output = node.output[0].clone();
        let x = self.names.fresh(&output, "x");
        let before = cast_node(&node, &node.input[0], &x, if back { DataType::Float } else { to });
        node.input[0] = x;
        if !back {
            return vec![before, node];
        }
        let y = self.names.fresh(&output, "y");
        let after = cast_node(&node, &y, &output, to);
        node.output[0] = y;
        vec![before, node, after]
    }
}

/// The rows of each part; one part where the graph cuts nothing.
fn groups(sizes: &[usize], n: usize) -> Vec<Range<usize>> {
    let sizes = if sizes.is_empty() { &[n] } else { sizes };
    let mut end = 0;
    let rows = |size: &usize| {
        end += size;
        end - size..end
    };
    sizes.iter().map(rows).collect()
}

/// A template's attributes with captured ones in place of their references. What the source leaves
/// out is left out again.
fn resolve(attributes: Vec<AttributeProto>, site: &Site, n: usize) -> Vec<AttributeProto> {
    let resolved = attributes.into_iter().filter_map(|attribute| match attribute.ref_attr_name() {
        "" => Some(attribute),
        PART_SIZES => {
            let sizes =
                groups(&site.part_sizes, n).into_iter().map(|rows| rows.len() as i64).collect();
            let parts = AttributeProto { ref_attr_name: None, ints: sizes, ..attribute };
            Some(parts)
        }
        captured => {
            let found = site.bound.attributes.get(captured)?.clone();
            Some(AttributeProto { name: attribute.name, ..found })
        }
    });
    resolved.collect()
}

fn int_attribute(name: &str, value: usize) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Int as i32),
        i: Some(value as i64),
        ..AttributeProto::default()
    }
}

fn float_attribute(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Float as i32),
        f: Some(value),
        ..AttributeProto::default()
    }
}

/// A `Cast` that says of itself what the product does.
fn cast_node(product: &NodeProto, input: &str, output: &str, to: DataType) -> NodeProto {
    NodeProto {
        input: vec![input.into()],
        output: vec![output.into()],
        name: product.name.as_ref().map(|_| output.to_owned()),
        op_type: Some("Cast".into()),
        attribute: vec![int_attribute("to", to as usize)],
        metadata_props: product.metadata_props.clone(),
        ..NodeProto::default()
    }
}

fn tensor(name: &str, data_type: DataType, dims: &[usize], bytes: Vec<u8>) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        data_type: Some(data_type as i32),
        dims: dims.iter().map(|d| *d as i64).collect(),
        raw_data: Some(bytes.into()),
        ..TensorProto::default()
    }
}

/// A metadata entry.
pub(super) fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) }
}
