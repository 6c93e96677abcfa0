//! `import-weights`: trained tensors into the model that they were trained in.

use super::{
    Exit, Failure,
    args::ImportWeights,
    console::Console,
    files::{check_target, check_unread, manifest_path, same_file, trained_path, write_text},
    progress::Progress,
    table::{counted, size},
};
use bitonnx::{
    Error, ErrorKind, Result,
    files::{self, Target},
    proto::{self, ExternalData, ModelProto},
    variants::{Manifest, import_weights},
};
use prost::Message as _;
use serde_json::json;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Writes the model with the tensors in it.
pub fn run(args: &ImportWeights, console: &mut Console) -> Result<Exit, Failure> {
    let out = args.output.clone().unwrap_or_else(|| trained_path(&args.model));
    console.make_way_for([out.as_path()]);
    let proto::Source { model, files: sources, .. } = proto::open(&args.model)?;
    let manifest = Beside::find(&args.model, &model, &out)?;
    check_targets(args, &out, manifest.as_ref(), &sources)?;
    let weights = files::read(&args.weights)?;
    let parsed = manifest.as_ref().map(|found| &found.manifest);
    let imported = import_weights(model, &weights, parsed, args.partial)
        .map_err(|e| e.within(args.weights.display()))?;

    // Data that lie in files of their own go on doing so, where there is a place for them.
    let external = match Target::of(&out)? {
        Target::File(_) if sources.len() > 1 => ExternalData::Always,
        _ => ExternalData::Auto,
    };
    let length = imported.model.encoded_len() as u64;
    let mut progress = Progress::new(console, "writing");
    let written = &mut |bytes| progress.at(bytes, length);
    proto::save(&imported.model, &out, external, written)?;
    drop(progress);
    if let Some(found) = &manifest {
        found.write()?;
    }

    let [model, from, to] =
        [&args.model, &args.weights, &out].map(|path| path.display().to_string());
    if console.json() {
        console.print_json(&json!({
            "model": model,
            "weights": from,
            "output": to,
            "manifest": manifest.map(|found| found.target.display().to_string()),
            "imported": imported.imported,
            "frozen": imported.frozen,
            "missing": imported.missing,
            "bytes": imported.bytes,
        }))?;
    } else {
        let kept = match imported.missing.len() {
            0 => String::new(),
            kept => format!(", {kept} not in it kept"),
        };
        let tensors = counted(imported.imported.len(), "tensor");
        let bytes = size(imported.bytes);
        writeln!(
            console.out(),
            "{tensors} ({bytes}) of {from}{kept}: {to}; next: bitonnx rewrite {to}"
        )?;
    }
    Ok(Exit::Done)
}

/// The manifest beside a QAT file, and where its copy goes.
struct Beside {
    manifest: Manifest,
    text: String,
    path: PathBuf,
    target: PathBuf,
}

impl Beside {
    /// `None` where there is no manifest, or it is about another file: a source has the name of its QAT
    /// file, and lacks the input.
    fn find(model_path: &Path, model: &ModelProto, out: &Path) -> Result<Option<Self>> {
        let path = manifest_path(model_path);
        if !path.exists() {
            return Ok(None);
        }
        let failed = |why: String| {
            let hint = "write it again with `rewrite --qat`, or move it away";
            Error::new(
                ErrorKind::InvalidFile,
                format!("the manifest {} can't be read", path.display()),
                why,
                hint,
            )
        };
        let text = fs::read_to_string(&path).map_err(|e| failed(e.to_string()))?;
        let manifest: Manifest = serde_json::from_str(&text).map_err(|e| failed(e.to_string()))?;
        let mut inputs = model.graph.iter().flat_map(|graph| &graph.input);
        if !inputs.any(|input| input.name() == manifest.lambda) {
            return Ok(None);
        }
        // Beside what is no file nothing lies.
        let target = match Target::of(out)? {
            Target::File(_) => manifest_path(out),
            Target::Stream(_) => path.clone(),
        };
        Ok(Some(Beside { manifest, text, path, target }))
    }

    /// Whether the model is written where it was, so that its manifest stays.
    fn stays(&self) -> bool {
        self.path == self.target || same_file(&self.path, &self.target)
    }

    fn write(&self) -> Result<()> {
        if self.stays() {
            return Ok(());
        }
        write_text("the manifest", &self.text, &self.target)
    }
}

/// Refuses what would be lost by writing, before any work is done. The model itself may be replaced: it is
/// read through a map of the old file, which stays until the end.
fn check_targets(
    args: &ImportWeights,
    out: &Path,
    manifest: Option<&Beside>,
    files: &[PathBuf],
) -> Result<()> {
    let model = if same_file(&args.model, out) { &[] } else { files };
    let copy = manifest.filter(|found| !found.stays()).map(|found| found.target.as_path());
    for target in [Some(out), copy].into_iter().flatten() {
        let manifest = manifest.map(|found| &found.path);
        check_unread(target, model.iter().chain([&args.weights]).chain(manifest))?;
        check_target(target, args.overwrite)?;
    }
    Ok(())
}
