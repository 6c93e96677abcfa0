//! From a projection to the nodes and initializers that come in its place.

use super::{
    emission::{Emission, Form},
    rule::{Effect, Projection},
    survey::Site,
    weight::Weight,
};
use crate::{
    draft::{Factors, Names, Store},
    graph::View,
    options::{Granularity, LowRank, LowRankInit, Options},
    proto::{ModelProto, NodeProto, opset, tensor_proto::DataType},
    quant::{self, Matrix, Storage, Ternary},
    variants::{Parameter, qat},
};
use bytes::Bytes;
use std::{collections::HashMap, fmt, ops::Range};

/// Converts one projection after another, and holds the initializers that come with them.
pub(super) struct Converter<'o> {
    options: &'o Options,
    pub store: Store,
    /// The weights stored so far, by the name of their source.
    stored: HashMap<String, Vec<Stored>>,
    /// Computed weights that are stored as floats, likewise.
    floats: HashMap<String, Vec<(Bytes, String)>>,
    /// Corrections, by the ternary weight that they correct.
    corrections: HashMap<String, Vec<(Ternary, Corrected, Factors)>>,
}

/// A ternarised weight that the file has already.
struct Stored {
    weight: Ternary,
    codes: String,
    scale: String,
}

/// What comes in place of a projection, with the figures for its report.
pub(super) struct Converted {
    /// The nodes that replace the root of its match.
    pub nodes: Vec<NodeProto>,
    /// The mean of its scales.
    pub scale: f32,
    /// The share of its codes that are zero.
    pub zeros: f64,
    /// Whether the weight was ternary already.
    pub exact: bool,
    /// Bytes of codes and scales.
    pub bytes: u64,
    /// The norm before it, if it has one.
    pub subln: Option<Subln>,
    /// The correction beside it.
    pub lrc: Option<Corrected>,
    /// The initializers that training changes, in the QAT variant.
    pub parameters: Vec<Parameter>,
}

/// The norm before a projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subln {
    /// One that this rewrite inserts.
    Inserted,
    /// One that the model has.
    Own,
}

impl fmt::Display for Subln {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Subln::Inserted => "inserted",
            Subln::Own => "own",
        })
    }
}

/// A correction, as reports have it.
#[derive(Debug, Clone)]
pub(super) struct Corrected {
    pub rank: usize,
    pub bytes: u64,
    /// `‖W - t·s‖ / ‖W‖`, and the same less `U·Vᵀ`.
    pub errors: [f64; 2],
}

impl<'o> Converter<'o> {
    pub fn new(model: &ModelProto, options: &'o Options) -> Self {
        Converter {
            options,
            store: Store::new(opset(model), model.ir_version() >= 10, Names::of(model)),
            stored: HashMap::new(),
            floats: HashMap::new(),
            corrections: HashMap::new(),
        }
    }

    /// Whether projections stay float, to be trained.
    pub fn makes_qat(&self) -> bool {
        self.options.qat
    }

    /// The conversion, or why the projection stays as it is.
    pub fn convert(
        &mut self,
        view: &View,
        site: &Site,
        projection: &Projection,
    ) -> Result<Converted, String> {
        let source = &projection.weight;
        let groups = groups(self.options.granularity, &site.part_sizes, source.n);
        let failed =
            |e: quant::Error| format!("its weight `{}` can't be ternarised: {e}", source.name);
        let matrix = source.matrix().map_err(failed)?;
        let mut ternary = quant::ternarize(&matrix, &groups).map_err(failed)?;
        let expected = site.rule.effect() == Effect::Exact;
        if expected && !ternary.exact {
            ternary = without_residue(source, &groups).ok_or_else(|| not_ternary(source))?;
        }
        let trained = expected || ternary.exact;
        if trained && self.makes_qat() {
            return Err("it was trained ternary already, and a QAT file leaves it as it is".into());
        }
        let correction = match self.options.low_rank() {
            Some(lrc) if !trained => {
                Some(self.correction(&lrc, &matrix, &ternary, source).map_err(failed)?)
            }
            _ => None,
        };
        ternary.scale = ternary.scale.times(projection.factor);

        let mut converted = Converted {
            nodes: Vec::new(),
            scale: ternary.scale.mean(),
            zeros: ternary.zeros as f64 / (source.n * source.k).max(1) as f64,
            exact: ternary.exact,
            bytes: (ternary.codes.bytes().len() + 4 * ternary.scale.values().len()) as u64,
            subln: self.subln(site, trained),
            lrc: None,
            parameters: Vec::new(),
        };
        let form = if self.makes_qat() {
            let weight = self.float_weight(projection);
            converted.parameters.push(Parameter { name: weight.clone(), role: "weight" });
            let bias = site.bias.iter().cloned();
            converted.parameters.extend(bias.map(|name| Parameter { name, role: "bias" }));
            Form::Qat { weight, groups }
        } else {
            let (codes, scale) = self.store_ternary(&source.name, ternary);
            Form::Inference { codes, scale }
        };
        let (lrc, factors) = correction.unzip();
        converted.lrc = lrc;
        let mut emission = Emission {
            projection,
            form,
            insert_norm: converted.subln == Some(Subln::Inserted),
            factors,
            parameters: &mut converted.parameters,
        };
        converted.nodes = emission.nodes(&mut self.store, view, site);
        Ok(converted)
    }

    /// The norm before a projection. What was trained ternary keeps its architecture unless a placement
    /// was given by hand.
    fn subln(&self, site: &Site, trained: bool) -> Option<Subln> {
        let placement = self.options.subln.unwrap_or_default();
        if site.norm.is_some() {
            return Some(Subln::Own);
        }
        let asked = self.options.subln.is_some() || !trained;
        (asked && placement.covers(site.role)).then_some(Subln::Inserted)
    }

    /// Names of the weight's codes and scales, which are stored once however often they are read.
    fn store_ternary(&mut self, source: &str, weight: Ternary) -> (String, String) {
        let known = self.stored.entry(source.to_owned()).or_default();
        if let Some(stored) = known.iter().find(|s| s.weight == weight) {
            return (stored.codes.clone(), stored.scale.clone());
        }
        let (dims, bytes) = (weight.codes.dims(), weight.codes.bytes().to_vec());
        let codes = self.store.tensor([source, "codes"], DataType::Uint8, &dims, bytes);
        let scales = weight.scale.values();
        let scale = self.store.floats([source, "scale"], DataType::Float, &[scales.len()], scales);
        known.push(Stored { weight, codes: codes.clone(), scale: scale.clone() });
        (codes, scale)
    }

    /// The initializer that holds the weight's floats: the source's own, where it is one, else a new one.
    fn float_weight(&mut self, projection: &Projection) -> String {
        let weight = &projection.weight;
        if let Some(own) = &weight.stored_as_is {
            return own.clone();
        }
        let dims = match weight.layout {
            quant::Layout::InOut => [weight.k, weight.n],
            quant::Layout::OutIn => [weight.n, weight.k],
        };
        let known = self.floats.entry(weight.name.clone()).or_default();
        if let Some((_, name)) = known.iter().find(|(data, _)| *data == weight.data) {
            return name.clone();
        }
        let data_type = weight.data_type();
        let name =
            self.store.tensor([&weight.name, "float"], data_type, &dims, weight.data.to_vec());
        known.push((weight.data.clone(), name.clone()));
        name
    }

    /// The correction of a weight, which is made and stored once however often the weight is read.
    fn correction(
        &mut self,
        lrc: &LowRank,
        matrix: &Matrix,
        ternary: &Ternary,
        weight: &Weight,
    ) -> Result<(Corrected, Factors), quant::Error> {
        let known = self.corrections.entry(weight.name.clone()).or_default();
        if let Some((_, corrected, factors)) = known.iter().find(|(of, ..)| of == ternary) {
            return Ok((corrected.clone(), factors.clone()));
        }
        let rank = lrc.rank_for(weight.n, weight.k).unwrap_or_default();
        let made = match lrc.init {
            LowRankInit::Svd => quant::low_rank(matrix, ternary, rank)?,
            LowRankInit::Zeros => quant::untrained(matrix, ternary, rank, &weight.name)?,
        };
        let bytes = ((made.u.len() + made.v.len()) * weight.storage.size()) as u64;
        let corrected = Corrected { rank, bytes, errors: made.errors };
        let (to, u, v) = (weight.data_type(), [weight.n, rank], [weight.k, rank]);
        let factors = Factors {
            u: self.store.floats([&weight.name, "lrc_u"], to, &u, &made.u),
            v: self.store.floats([&weight.name, "lrc_v"], to, &v, &made.v),
        };
        known.push((ternary.clone(), corrected.clone(), factors.clone()));
        Ok((corrected, factors))
    }
}

/// The ternary weight that a folded blend is, apart from what its cut-off fractions left of zeros.
fn without_residue(source: &Weight, groups: &[Range<usize>]) -> Option<Ternary> {
    if source.storage != Storage::F32 {
        return None;
    }
    let clean = |bytes: &[u8; 4]| {
        let value = f32::from_le_bytes(*bytes);
        if value.abs() <= qat::RESIDUE { [0; 4] } else { *bytes }
    };
    let data = source.data.as_chunks().0.iter().flat_map(clean).collect::<Vec<u8>>();
    let clean = Weight { data: data.into(), ..source.clone() };
    let ternary = quant::ternarize(&clean.matrix().ok()?, groups).ok()?;
    ternary.exact.then_some(ternary)
}

fn not_ternary(source: &Weight) -> String {
    format!(
        "its activation is quantised as BitLinear's, but its weight `{}` is not ternary",
        source.name
    )
}

/// The rows that share a scale.
fn groups(granularity: Granularity, part_sizes: &[usize], n: usize) -> Vec<Range<usize>> {
    match granularity {
        Granularity::Channel => (0..n).map(|row| row..row + 1).collect(),
        Granularity::Tensor => rows_of_parts(part_sizes, n),
    }
}

/// The rows of each part; one part where the graph cuts nothing.
fn rows_of_parts(sizes: &[usize], n: usize) -> Vec<Range<usize>> {
    let sizes = if sizes.is_empty() { &[n] } else { sizes };
    let mut end = 0;
    let rows = |size: &usize| {
        end += size;
        end - size..end
    };
    sizes.iter().map(rows).collect()
}
