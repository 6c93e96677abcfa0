//! The nodes of one projection: a rule's template, filled in.

use super::{
    rule::Projection,
    survey::Site,
    template::{INPUT, PART_SIZES},
};
use crate::{
    draft::{self, Draft, Factors, Naming, Origin, Store},
    graph::View,
    operator::{self, BitLinear},
    proto::{AttributeProto, NodeProto, attribute_proto::AttributeType, tensor_proto::DataType},
    variants::{
        Parameter,
        qat::{self, Groups},
    },
};
use std::{collections::HashMap, ops::Range};

/// What comes in place of a projection's product.
pub(super) enum Form {
    /// A BitLinear of these initializers.
    Inference { codes: String, scale: String },
    /// The product of blends: with this float weight, in groups of rows that share a scale.
    Qat { weight: String, groups: Vec<Range<usize>> },
}

/// One projection on its way into the graph.
pub(super) struct Emission<'e> {
    pub projection: &'e Projection,
    pub form: Form,
    pub insert_norm: bool,
    pub factors: Option<Factors>,
    /// Where what training changes is noted.
    pub parameters: &'e mut Vec<Parameter>,
}

impl Emission<'_> {
    /// The rule's template with the graph's names in it, and the projection in place of its BitLinear.
    pub fn nodes(&mut self, store: &mut Store, view: &View, site: &Site) -> Vec<NodeProto> {
        let (root, source) = (site.root, view.node(site.node));
        let origin = Origin { root, source, name: &site.name, rule: site.rule.name() };
        let base = view.node(site.root).output.first().map_or("", String::as_str);
        let mut values: HashMap<String, String> =
            site.bound.values.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        values.insert(INPUT.into(), self.projection.input.clone());
        let mut attributes = site.bound.attributes.clone();
        let sizes = match &site.part_sizes[..] {
            [] => &[self.projection.weight.n],
            sizes => sizes,
        };
        attributes.insert(PART_SIZES.into(), ints(sizes.iter().map(|size| *size as i64)));
        let lists = self.projection.lists.iter();
        attributes
            .extend(lists.map(|(name, list)| ((*name).to_owned(), ints(list.iter().copied()))));
        let mut nodes = Vec::new();
        for template in site.rule.template.filled(&values, &attributes) {
            for output in &template.output {
                let fresh = || store.names.fresh(base, output);
                values.entry(output.clone()).or_insert_with(fresh);
            }
            let own = &values[&template.output[0]];
            let mut draft = Draft::new(store, origin, own);
            if template.domain() == operator::DOMAIN {
                self.projection(&mut draft, &values[&template.input[0]], own);
            } else {
                draft.add_nodes(vec![template], values.clone(), Naming::Labels);
            }
            nodes.append(&mut draft.nodes);
        }
        nodes
    }

    /// Norm, product and correction: from `x` to `y`.
    fn projection(&mut self, draft: &mut Draft, x: &str, y: &str) {
        let mut x = x.to_owned();
        if self.projection.casts && !computes_in_f32(draft, self.projection.data_type) {
            x = cast(draft, &x, self.projection.data_type);
        }
        if self.insert_norm {
            x = self.norm(draft, &x);
        }
        match self.factors.take() {
            None => self.form.product(draft, self.projection, &x, y),
            Some(factors) => {
                let product = draft.fresh("bit");
                self.form.product(draft, self.projection, &x, &product);
                self.correct(draft, &x, &product, &factors, y);
            }
        }
    }

    /// `y = product + U·(Vᵀ·x)`.
    fn correct(&mut self, draft: &mut Draft, x: &str, product: &str, factors: &Factors, y: &str) {
        let lambda = match self.form {
            Form::Qat { .. } => Some(qat::lambda_as(draft, self.projection.data_type)),
            Form::Inference { .. } => None,
        };
        let branch = draft::correction(draft, x, factors, lambda.as_deref());
        let bound = [("product", product), ("lrc", &*branch), ("corrected", y)];
        draft.add("corrected = Add (product, lrc)", &bound, Naming::Values);
        let of = |role, name: &str| Parameter { name: name.to_owned(), role };
        self.parameters.extend([of("lrc_u", &factors.u), of("lrc_v", &factors.v)]);
    }

    /// The norm of `x`. In an inference file projections of one input share it, since all gains are ones.
    fn norm(&mut self, draft: &mut Draft, x: &str) -> String {
        let (weight, to) = (&self.projection.weight, self.projection.data_type);
        let mut make = |draft: &mut Draft| {
            let gain = draft.store.gain(draft.origin.root.graph(), &weight.name, weight.k, to);
            let made = draft::norm(draft, x, &gain, to);
            self.parameters.push(Parameter { name: gain, role: "subln_gain" });
            made
        };
        match self.form {
            Form::Qat { .. } => make(draft),
            Form::Inference { .. } => draft.shared(format!("subln {x}"), make),
        }
    }
}

impl Form {
    /// The product of `x` and the weight, as `y`.
    fn product(&self, draft: &mut Draft, projection: &Projection, x: &str, y: &str) {
        let to = projection.data_type;
        match self {
            Form::Inference { codes, scale } => {
                let op = BitLinear { in_features: projection.weight.k, eps: projection.eps };
                bit_linear(draft, op, [x, codes, scale], y, to);
            }
            Form::Qat { weight, groups } => {
                let layout = projection.weight.layout;
                let groups = Groups::of(groups);
                let (key_x, key_w) =
                    (format!("x {x}"), format!("w {layout:?} {groups:?} {weight}"));
                let a = draft.shared(key_x, |draft| qat::activation(draft, x, to));
                let w =
                    draft.shared(key_w, |draft| qat::weight(draft, weight, layout, &groups, to));
                qat::product(draft, &a, &w, y, to);
            }
        }
    }
}

/// Before opset 15 BitLinear's definition can't cast back to its input's type, and has f32 on both sides.
fn computes_in_f32(draft: &Draft, data_type: DataType) -> bool {
    draft.store.opset < 15 && data_type != DataType::Float
}

fn bit_linear(
    draft: &mut Draft,
    op: BitLinear,
    [x, codes, scale]: [&str; 3],
    y: &str,
    to: DataType,
) {
    let add = |draft: &mut Draft, x: &str, y: &str| {
        let bound = [("x", x), ("codes", codes), ("scale", scale), ("y", y)];
        let bound = bound.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let node = op.node(["x", "codes", "scale"], "y");
        draft.add_nodes(vec![node], bound.into(), Naming::Labels);
    };
    if !computes_in_f32(draft, to) {
        return add(draft, x, y);
    }
    let wide = cast(draft, x, DataType::Float);
    let product = draft.fresh("product");
    add(draft, &wide, &product);
    let text = format!("narrow = Cast <to = {}> (product)", to as i32);
    draft.add(&text, &[("product", &product), ("narrow", y)], Naming::Values);
}

fn cast(draft: &mut Draft, x: &str, to: DataType) -> String {
    let text = format!("cast = Cast <to = {}> (x)", to as i32);
    draft.add(&text, &[("x", x)], Naming::Values)
}

fn ints(ints: impl Iterator<Item = i64>) -> AttributeProto {
    AttributeProto {
        r#type: Some(AttributeType::Ints as i32),
        ints: ints.collect(),
        ..AttributeProto::default()
    }
}
