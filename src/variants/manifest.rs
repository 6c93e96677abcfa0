//! What training may change in a QAT file.
//!
//! Importers make a parameter of an initializer that one node reads; so each is read through an `Identity`
//! of its own name, however often it is used. The manifest beside the file says of every initializer
//! whether it is trained, and what it is.

use super::qat;
use crate::{
    draft::{Names, storage},
    error::{Error, ErrorKind, Result},
    graph::{Constants, Edit, Graphs, NodeId, View, facts::lookups},
    options::{Options, Trainable},
    proto::{
        ModelProto, NodeProto, TensorProto, element_count, is_float, raw_bytes,
        tensor_proto::DataType, type_name,
    },
    quant::{Layout, Matrix},
    values::norm,
};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

impl Trainable {
    fn covers(self, role: &str) -> bool {
        match self {
            Trainable::All => role != OTHER,
            Trainable::LrcOnly => matches!(role, "lrc_u" | "lrc_v"),
            Trainable::SublnOnly => role == "subln_gain",
        }
    }
}

/// The role of a table that `Gather` reads.
const EMBEDDING: &str = "embedding";

/// The role of what is no parameter: axes, masks, frequencies.
const OTHER: &str = "other";

/// `MODEL.qat.json`: every initializer of a QAT file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The version of this format, 1.
    pub version: u32,
    /// The graph input that blends from float (0) to quantised (1).
    pub lambda: String,
    /// The preset by which they are trained or frozen.
    pub preset: Trainable,
    /// Every initializer, in the file's order.
    pub initializers: Vec<ManifestEntry>,
}

/// One initializer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ManifestEntry {
    /// Its name, by which trained tensors come back.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<i64>,
    /// Its ONNX element type in lower case: `float`, `float16`, `int64`.
    pub dtype: String,
    /// Whether training changes it.
    pub trainable: bool,
    /// `weight`, `bias`, `subln_gain`, `lrc_u` or `lrc_v` of a projection, `embedding`, `norm`, or `other`.
    pub role: String,
    /// The projection that it belongs to.
    pub projection: Option<String>,
    /// The `Identity` through which it is read.
    pub identity: Option<String>,
}

/// An initializer that belongs to a projection, and what it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub name: String,
    pub role: &'static str,
}

/// The parameters found so far, by initializer.
#[derive(Debug, Default)]
pub(crate) struct Parameters(HashMap<String, (&'static str, Option<String>)>);

impl Parameters {
    /// The embedding tables and norms of a model.
    pub fn of(graphs: &Graphs) -> Self {
        let mut found = Parameters::default();
        for view in graphs.iter() {
            let constants = graphs.constants(view.id());
            for (name, role) in
                view.nodes().flat_map(|(id, _)| around_projections(view, &constants, id))
            {
                let stored = view.initializer(name).filter(|tensor| can_train(tensor));
                if stored.is_some_and(|tensor| role != EMBEDDING || !is_rotation(tensor)) {
                    found.0.entry(name.to_owned()).or_insert((role, None));
                }
            }
        }
        found
    }

    /// Adds what belongs to a projection.
    pub fn extend(&mut self, projection: &str, parameters: Vec<Parameter>) {
        let own = parameters.into_iter().map(|p| (p.name, (p.role, Some(projection.to_owned()))));
        self.0.extend(own);
    }

    fn role(&self, name: &str) -> &'static str {
        self.0.get(name).map_or(OTHER, |(role, _)| role)
    }
}

fn around_projections<'m>(
    view: &View<'m>,
    constants: &Constants<'_, 'm>,
    id: NodeId,
) -> Vec<(&'m str, &'static str)> {
    let node = view.node(id);
    let tables: Vec<_> = lookups(node).map(|lookup| (lookup.table, EMBEDDING)).collect();
    if !tables.is_empty() {
        return tables;
    }
    let norms = node.output.first().and_then(|output| norm(view, constants, output, None));
    match norms {
        Some(found) if found.node == id => {
            found.parameters.into_iter().map(|name| (name, "norm")).collect()
        }
        _ => Vec::new(),
    }
}

/// Makes a QAT file of a model: gives it its input, reads its parameters through `Identity`s, and says
/// what is trained.
pub(crate) fn finish(
    model: &mut ModelProto,
    parameters: &Parameters,
    names: &mut Names,
    options: &Options,
) -> Result<Manifest> {
    let mut manifest = Manifest {
        version: 1,
        lambda: qat::LAMBDA.into(),
        preset: options.trainable.unwrap_or_default(),
        initializers: Vec::new(),
    };
    let graphs = Graphs::of(model);
    check_filters(&graphs, options)?;
    let nodes = graphs.iter().flat_map(View::nodes).map(|(_, node)| node.name()).collect();
    let (edit, entries) = (Edit::default(), &mut manifest.initializers);
    let mut wrap = Wrap { parameters, options, names, nodes, entries, edit };
    graphs.iter().for_each(|view| wrap.graph(view));
    wrap.edit.apply(model);
    model.graph.iter_mut().for_each(|graph| graph.input.push(qat::lambda_input()));
    if manifest.initializers.iter().all(|entry| !entry.trainable) {
        return Err(nothing_to_train(manifest.preset));
    }
    Ok(manifest)
}

fn nothing_to_train(preset: Trainable) -> Error {
    let hint = match preset {
        Trainable::All => "name some that are trained all the same",
        Trainable::LrcOnly => "ask for low-rank corrections",
        Trainable::SublnOnly => "ask for SubLN, before output projections for one",
    };
    let why = "every initializer of the QAT file would be frozen";
    Error::new(ErrorKind::InvalidOption, "there is nothing to train", why, hint)
}

/// A filter that matches no initializer is an error, as for projections.
fn check_filters(graphs: &Graphs, options: &Options) -> Result<()> {
    for filter in &options.trainable_filters {
        let mut stored = graphs.iter().flat_map(View::initializers);
        let matches = stored.any(|t| filter.pattern.is_match(t.name()));
        if !matches && !options.allow_unmatched {
            return Err(Error::new(
                ErrorKind::NoSuchInitializer,
                format!("trainable {filter} matches no initializer"),
                "no initializer of the QAT file has such a name",
                "correct it by the manifest that is made without it, or allow that it matches none",
            ));
        }
    }
    Ok(())
}

/// The insertion of `Identity`s, graph by graph.
struct Wrap<'w> {
    parameters: &'w Parameters,
    options: &'w Options,
    names: &'w mut Names,
    /// The names of the nodes.
    nodes: HashSet<&'w str>,
    entries: &'w mut Vec<ManifestEntry>,
    edit: Edit,
}

impl<'w> Wrap<'w> {
    fn graph(&mut self, view: &View<'w>) {
        for tensor in view.initializers() {
            let name = tensor.name();
            let role = self.parameters.role(name);
            let trained = can_train(tensor) && self.is_trained(name, role);
            let mut entry = self.entry(tensor, role, trained);
            let wrapped = can_train(tensor) && (trained || role != OTHER);
            if wrapped && !view.is_output(name) && !view.uses(name).is_empty() {
                let value = self.names.fresh(name, "param");
                // A node of that name may be there already, or in another graph.
                let node = if self.nodes.insert(name) { name } else { &value };
                entry.identity = Some(node.to_owned());
                self.edit.begin_with(view.id(), identity(node, name, &value));
                self.edit.read_as(view.id(), name, &value);
            }
            self.entries.push(entry);
        }
    }

    fn is_trained(&self, name: &str, role: &str) -> bool {
        let filters = &self.options.trainable_filters;
        let filter = filters.iter().rev().find(|f| f.pattern.is_match(name));
        let preset = self.options.trainable.unwrap_or_default();
        filter.map_or_else(|| preset.covers(role), |f| f.include)
    }

    fn entry(&self, tensor: &TensorProto, role: &str, trainable: bool) -> ManifestEntry {
        ManifestEntry {
            name: tensor.name().to_owned(),
            shape: tensor.dims.clone(),
            dtype: type_name(tensor.data_type()),
            trainable,
            role: role.to_owned(),
            projection: self.parameters.0.get(tensor.name()).and_then(|(_, p)| p.clone()),
            identity: None,
        }
    }
}

fn identity(node: &str, initializer: &str, value: &str) -> NodeProto {
    NodeProto {
        name: Some(node.into()),
        op_type: Some("Identity".into()),
        input: vec![initializer.into()],
        output: vec![value.into()],
        ..NodeProto::default()
    }
}

/// Whether a table holds the cosines or sines of rotary position embeddings: its first row is of position
/// 0, all ones or all zeros, and no number is beyond 1, which some reach.
fn is_rotation(table: &TensorProto) -> bool {
    let [rows, width] = table.dims[..] else { return false };
    let (Ok(rows), Ok(width)) = (usize::try_from(rows), usize::try_from(width)) else {
        return false;
    };
    let storage = DataType::try_from(table.data_type()).ok().and_then(storage);
    let Some((storage, bytes)) = storage.zip(raw_bytes(table)) else { return false };
    let Ok(table) = Matrix::new(&bytes, storage, Layout::OutIn, rows, width) else { return false };
    if rows == 0 || width == 0 {
        return false;
    }
    let first = table.get(0, 0);
    let all = || (0..rows).flat_map(|row| (0..width).map(move |column| (row, column)));
    let mut magnitudes = all().map(|(row, column)| table.get(row, column).abs());
    (first == 0.0 || first == 1.0)
        && (0..width).all(|column| table.get(0, column) == first)
        && magnitudes.try_fold(0.0, |most, x| (x <= 1.0).then_some(x.max(most))) > Some(0.99)
}

/// Whether a tensor can be trained: a scalar is a constant of the arithmetic.
pub(super) fn can_train(tensor: &TensorProto) -> bool {
    is_float(tensor.data_type()) && element_count(tensor).is_some_and(|count| count > 1)
}
