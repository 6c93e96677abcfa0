//! The command as people and programs meet it: real runs of the binary on real exports.

use bitonnx::proto::{TensorProto, raw_bytes, tensor_proto::DataType};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Instant,
};
use tempfile::TempDir;

/// A folder of its own for each test, in which the command runs.
struct Place(TempDir);

/// What a run printed and how it ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Place {
    fn empty() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    /// Writes a model from its graph in ONNX's text syntax.
    fn write_model(&self, name: &str, graph: &str) {
        let imports = "[\"\" : 17, \"com.microsoft\" : 1]";
        let text = format!("<ir_version: 8, opset_import: {imports}> {graph}");
        let model = bitonnx::text::parse_model(&text).unwrap();
        bitonnx::proto::save(&model, &self.path(name), Default::default(), &mut |_| {}).unwrap();
    }

    /// Holds the fixture as `model.onnx`.
    fn with(fixture: &str) -> Self {
        let place = Self::empty();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
        for file in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = file.file_name().into_string().unwrap();
            if name.starts_with("model.onnx") {
                fs::copy(file.path(), place.path(&name)).unwrap();
            }
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Every file with its content.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let files = fs::read_dir(self.0.path()).unwrap().map(Result::unwrap);
        let files = files.filter(|file| file.file_type().unwrap().is_file());
        files
            .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
            .collect()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bitonnx"));
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null());
        command.env_remove("BITONNX_KERNEL").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        command.env_remove("COLUMNS");
        command
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().unwrap())
    }

    /// Writes `W.safetensors`.
    fn write_weights(&self, tensors: &[TensorProto]) {
        let data: Vec<Vec<u8>> =
            tensors.iter().map(|tensor| raw_bytes(tensor).unwrap().into_owned()).collect();
        let views = tensors.iter().zip(&data).map(|(tensor, data)| {
            let shape = tensor.dims.iter().map(|&d| d as usize).collect();
            let dtype = match tensor.data_type() {
                t if t == DataType::Float as i32 => Dtype::F32,
                t if t == DataType::Int64 as i32 => Dtype::I64,
                t if t == DataType::Bool as i32 => Dtype::BOOL,
                t => panic!("the fixture has element type {t}"),
            };
            (tensor.name().to_owned(), TensorView::new(dtype, shape, data).unwrap())
        });
        self.write("W.safetensors", safetensors::serialize(views, None).unwrap());
    }

    /// Runs the command, which must end well, and reads what it prints.
    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let ran = self.run(&[args, &["--format", "json"]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    }
}

impl From<Output> for Ran {
    #[track_caller]
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert!(!stderr.contains("panicked at"), "{stderr}");
        assert!(
            !stdout.contains('\x1b') && !stderr.contains('\x1b'),
            "colours outside of a terminal"
        );
        Ran { code: output.status.code(), stdout, stderr }
    }
}

impl Ran {
    /// What a snapshot holds: exit code, stdout and stderr.
    fn text(&self) -> String {
        let code = self.code.map_or("none".into(), |code| code.to_string());
        format!("exit {code}\n--- stdout\n{}--- stderr\n{}", self.stdout, self.stderr)
    }

    /// An error in three lines that mention these words, with this exit code.
    #[track_caller]
    fn assert_error(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.text());
        assert_eq!(self.stdout, "");
        let lines: Vec<&str> = self.stderr.lines().collect();
        let three = matches!(lines[..], [what, why, hint]
            if what.starts_with("error: ") && why.starts_with("  why: ") && hint.starts_with("  try: "));
        assert!(three, "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {}", self.stderr);
        }
    }

    #[track_caller]
    fn assert_done(&self) {
        assert_eq!(self.code, Some(0), "{}", self.text());
    }
}

const FIELDS: [&str; 19] = [
    "node",
    "op",
    "role",
    "weight",
    "in_features",
    "out_features",
    "dtype",
    "bias",
    "tied",
    "action",
    "reason",
    "rule",
    "subln",
    "lrc_rank",
    "planes",
    "scale",
    "zeros",
    "bytes_before",
    "bytes_after",
];

#[track_caller]
fn assert_report(report: &Value, model: &str) {
    assert_eq!(report["model"], model);
    assert!(report["options"].is_object());
    let projections = report["projections"].as_array().unwrap();
    assert!(!projections.is_empty());
    for projection in projections {
        let fields: Vec<&String> = projection.as_object().unwrap().keys().collect();
        for field in FIELDS {
            assert!(fields.iter().any(|f| *f == field), "no {field} in {fields:?}");
        }
        assert_eq!(fields.len(), FIELDS.len(), "{fields:?}");
        assert!(["bitlinear", "keep"].contains(&projection["action"].as_str().unwrap()));
        assert_ne!(projection["reason"], "");
    }
}

#[test]
fn inspect_lists_projections() {
    let place = Place::with("bert-ts14");
    assert_snapshot!("cli@inspect", place.run(&["inspect", "model.onnx"]).text());
    assert_report(&place.json(&["inspect", "model.onnx"]), "model.onnx");
}

#[test]
fn inspect_says_more_when_asked() {
    let place = Place::with("llama-dyn18-slim");
    assert_snapshot!("cli@inspect_verbose", place.run(&["inspect", "model.onnx", "-v"]).text());
}

#[test]
fn rewrite_writes_beside_the_model_and_sums_up() {
    let place = Place::with("bert-ts14");
    let before = place.files();
    let ran = place.run(&["rewrite", "model.onnx"]);
    assert_snapshot!("cli@rewrite", ran.text());
    let after = place.files();
    assert_eq!(after.keys().collect::<Vec<_>>(), ["model.bit.onnx", "model.onnx"]);
    assert_eq!(after["model.onnx"], before["model.onnx"]);
}

#[test]
fn weights_that_are_ternary_already_get_no_warning() {
    let place = Place::with("bitllama-ste-ts17");
    let ran = place.run(&["rewrite", "model.onnx"]);
    ran.assert_done();
    assert_eq!(ran.stderr, "");
}

#[test]
fn the_report_goes_to_a_file_and_to_stdout() {
    let place = Place::with("bert-ts14");
    let report = place.json(&["rewrite", "model.onnx", "--report", "report.json"]);
    assert_report(&report, "model.onnx");
    let written = fs::read(place.path("report.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), report);
    let inspected = place.json(&["inspect", "model.onnx"]);
    assert_eq!(inspected["projections"], report["projections"]);
}

#[test]
fn talk_stays_off_stdout_and_quiet_silences_it() {
    let place = Place::with("bert-ts14");
    let loud = place.run(&["rewrite", "model.onnx"]);
    let quiet = place.run(&["rewrite", "model.onnx", "--overwrite", "-q"]);
    assert!(loud.stderr.contains("Accuracy"));
    assert_eq!((quiet.stderr.as_str(), quiet.code), ("", Some(0)));
    assert_eq!(quiet.stdout, loud.stdout);
}

#[test]
fn a_dry_run_writes_nothing() {
    let place = Place::with("bert-ts14");
    let before = place.files();
    let dry = place.run(&["rewrite", "model.onnx", "--dry-run"]);
    dry.assert_done();
    assert!(dry.stderr.contains("nothing was written"));
    assert_eq!(place.files(), before);
    let wet = place.run(&["rewrite", "model.onnx"]);
    assert_eq!(wet.stdout, dry.stdout);
    let refused = place.run(&["rewrite", "model.onnx", "--dry-run", "--report", "report.json"]);
    assert_eq!(refused.code, Some(2));
}

#[test]
fn a_dry_run_of_a_qat_file_says_nothing_of_a_manifest() {
    let place = Place::with("bert-ts14");
    let before = place.files();
    let dry = place.run(&["rewrite", "model.onnx", "--qat", "--dry-run"]);
    dry.assert_done();
    assert!(!dry.stderr.contains("model.qat.json"), "{}", dry.stderr);
    assert_eq!(place.files(), before);
    let wet = place.run(&["rewrite", "model.onnx", "--qat"]);
    wet.assert_done();
    assert!(wet.stderr.contains("What to train is in model.qat.json."), "{}", wet.stderr);
    assert!(place.path("model.qat.json").exists());
}

#[test]
fn nothing_is_overwritten_without_the_word() {
    let place = Place::with("bert-ts14");
    place.write("out.onnx", "not to be lost");
    place.write("report.json", "nor this");
    let before = place.files();
    place
        .run(&["rewrite", "model.onnx", "-o", "out.onnx"])
        .assert_error(1, &["out.onnx", "--overwrite"]);
    place
        .run(&["rewrite", "model.onnx", "--report", "report.json"])
        .assert_error(1, &["report.json", "--overwrite"]);
    assert_eq!(place.files(), before);

    let args =
        ["rewrite", "model.onnx", "-o", "out.onnx", "--report", "report.json", "--overwrite"];
    place.run(&args).assert_done();
    let after = place.files();
    assert_ne!(after["out.onnx"], before["out.onnx"]);
    assert_ne!(after["report.json"], before["report.json"]);
    assert_eq!(after["model.onnx"], before["model.onnx"]);
}

#[test]
fn the_source_is_never_the_target() {
    let place = Place::with("bert-ts14");
    fs::create_dir(place.path("folder")).unwrap();
    let before = place.files();
    for target in ["model.onnx", "folder/../model.onnx"] {
        for option in ["-o", "--report"] {
            let ran = place.run(&["rewrite", "model.onnx", option, target, "--overwrite"]);
            ran.assert_error(1, &["model.onnx can't be written", "reads"]);
        }
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(place.path("model.onnx"), place.path("link.onnx")).unwrap();
        let ran = place.run(&["rewrite", "link.onnx", "-o", "model.onnx", "--overwrite"]);
        ran.assert_error(1, &["model.onnx can't be written"]);
        fs::remove_file(place.path("link.onnx")).unwrap();
    }
    place
        .run(&["rewrite", "model.onnx", "-o", "one.onnx", "--report", "one.onnx"])
        .assert_error(1, &["the report"]);
    assert_eq!(place.files(), before);
}

#[test]
fn the_data_of_the_source_are_never_the_target() {
    let place = Place::with("llama-untied-dyn18ext");
    fs::create_dir(place.path("folder")).unwrap();
    let before = place.files();
    for target in ["model.onnx.data", "folder/../model.onnx.data"] {
        for option in ["-o", "--report"] {
            let ran = place.run(&["rewrite", "model.onnx", option, target, "--overwrite"]);
            ran.assert_error(1, &["model.onnx.data can't be written", "reads"]);
        }
    }
    assert!(place.files() == before);
}

#[test]
fn data_that_the_source_shares_with_the_target_stay() {
    let place = Place::with("llama-untied-dyn18ext");
    let always = ["--external-data", "always"];
    let args = ["rewrite", "model.onnx", "-o", "a.onnx", "--exclude", "linear_[0-6]$"];
    place.run(&[&args[..], &always].concat()).assert_done();
    fs::copy(place.path("a.onnx"), place.path("b.onnx")).unwrap();
    let before = place.files();
    let args = ["rewrite", "b.onnx", "-o", "a.onnx", "--overwrite"];
    let ran = place.run(&[&args[..], &always].concat());
    ran.assert_error(1, &["a.onnx can't be written", "a.onnx.", ".data", "reads"]);
    assert!(place.files() == before);
}

#[test]
fn no_two_things_are_written_to_one_file() {
    let place = Place::with("bert-ts14");
    fs::create_dir(place.path("folder")).unwrap();
    let rewrite = ["rewrite", "model.onnx", "--overwrite"];
    let refused = |args: &[&str], words: &[&str]| {
        let before = place.files();
        place.run(&[&rewrite, args].concat()).assert_error(1, words);
        assert_eq!(place.files(), before);
    };
    let (report, manifest) = ("the report can't be written to", "the manifest is written there");
    for name in ["model.qat.json", "./model.qat.json", "folder/../model.qat.json"] {
        refused(&["--qat", "--report", name], &[report, "model.qat.json", manifest]);
    }
    for name in ["one.onnx", "folder/../one.onnx"] {
        let model = "the rewritten model is written there";
        refused(&["-o", "one.onnx", "--report", name], &[report, "one.onnx", model]);
    }
    #[cfg(unix)]
    {
        let link = |to: &str, name: &str| {
            std::os::unix::fs::symlink(to, place.path(name)).unwrap();
        };
        link("model.qat.json", "link.json");
        refused(&["--qat", "--report", "link.json"], &[report, "link.json", manifest]);
        fs::remove_file(place.path("link.json")).unwrap();
        link("a.onnx", "a.qat.json");
        let words = ["the manifest can't be written to a.qat.json", "the rewritten model"];
        refused(&["--qat", "-o", "a.onnx"], &words);
    }
    place.run(&[&rewrite[..], &["--qat", "--report", "report.json"]].concat()).assert_done();
}

#[cfg(unix)]
#[test]
fn reports_replace_files_only_and_keep_links_and_permissions() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    let place = Place::with("bert-ts14");
    let rewrite = |report: &str| {
        let args = ["rewrite", "model.onnx", "--overwrite", "--report", report];
        place.run(&args).assert_done();
    };
    place.write("far.json", "old");
    fs::set_permissions(place.path("far.json"), fs::Permissions::from_mode(0o640)).unwrap();
    let old = fs::metadata(place.path("far.json")).unwrap().ino();
    symlink("far.json", place.path("link.json")).unwrap();
    rewrite("link.json");
    assert!(place.path("link.json").is_symlink());
    let new = fs::metadata(place.path("far.json")).unwrap();
    assert_ne!(new.ino(), old, "it was written in place");
    assert_eq!(new.mode() & 0o777, 0o640);
    let report = fs::read(place.path("far.json")).unwrap();
    assert_report(&serde_json::from_slice(&report).unwrap(), "model.onnx");

    // A new file is as open to others as any.
    rewrite("new.json");
    place.write("any", "");
    let mode = |name: &str| fs::metadata(place.path(name)).unwrap().mode();
    assert_eq!(mode("new.json"), mode("any"));

    // A pipe stays one, and its reader gets the report.
    assert!(Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
    let path = place.path("pipe");
    let reader = std::thread::spawn(move || fs::read(path).unwrap());
    rewrite("pipe");
    assert!(!fs::metadata(place.path("pipe")).unwrap().is_file(), "the pipe is a file now");
    assert_eq!(reader.join().unwrap(), report);
    let left = place.files().into_keys().filter(|name| name.starts_with('.')).count();
    assert_eq!(left, 0, "temporary files");
}

/// What is written to stdout is all that is there: what else would be printed goes to stderr, or nowhere.
#[cfg(target_os = "linux")]
#[test]
fn stdout_can_be_a_target() {
    let place = Place::with("bert-ts14");
    let rewrite = ["rewrite", "model.onnx", "--overwrite"];
    let with = |args: &[&str]| place.command(&[&rewrite, args].concat()).output().unwrap();
    place.run(&[&rewrite[..], &["-o", "out.onnx", "--report", "report.json"]].concat());
    let files = place.files();

    std::os::unix::fs::symlink("/dev/stdout", place.path("link.onnx")).unwrap();
    for out in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link.onnx"] {
        let ran = with(&["-o", out]);
        assert!(ran.stdout == files["out.onnx"], "{out}");
        let talk = String::from_utf8(ran.stderr).unwrap();
        assert!(talk.contains("13 projections: 12 to BitLinear"), "{talk}");
        let quiet = with(&["-o", out, "-q"]);
        assert!(quiet.stdout == files["out.onnx"] && quiet.stderr.is_empty(), "{out}");
    }
    let report = with(&["--report", "/dev/stdout", "-q"]);
    assert_eq!(report.stdout, files["report.json"]);

    // A file that the shell opened is written on, not replaced.
    let out = fs::File::create(place.path("all")).unwrap();
    std::io::Write::write_all(&mut &out, b"before ").unwrap();
    let args = [&rewrite[..], &["-o", "/dev/stdout", "-q"]].concat();
    assert!(place.command(&args).stdout(out.try_clone().unwrap()).status().unwrap().success());
    std::io::Write::write_all(&mut &out, b" after").unwrap();
    let whole = [b"before ", &files["out.onnx"][..], b" after"].concat();
    assert!(fs::read(place.path("all")).unwrap() == whole);

    let error = |args: &[&str], why: &str| {
        let args = [&rewrite, args].concat();
        place.run(&args).assert_error(1, &["/dev/stdout can't be written", why]);
    };
    error(&["-o", "/dev/stdout", "--qat"], "the manifest");
    error(&["-o", "/dev/stdout", "--external-data", "always", "-q"], "a file beside it");
    let args = [&rewrite[..], &["-o", "/dev/stdout", "--report", "link.onnx"]].concat();
    place.run(&args).assert_error(1, &["the report can't be written to link.onnx"]);
}

/// A pipe is read like a file.
#[cfg(target_os = "linux")]
#[test]
fn stdin_can_be_the_model() {
    let place = Place::with("bert-ts14");
    let mut child = place
        .command(&["rewrite", "/dev/stdin", "-o", "piped.onnx", "-q"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let model = fs::read(place.path("model.onnx")).unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &model).unwrap();
    assert!(child.wait().unwrap().success());
    place.run(&["rewrite", "model.onnx"]).assert_done();
    let files = place.files();
    assert!(files["piped.onnx"] == files["model.bit.onnx"]);
}

#[test]
fn the_target_must_be_a_file_in_a_folder() {
    let place = Place::with("bert-ts14");
    fs::create_dir(place.path("folder")).unwrap();
    place.run(&["rewrite", "model.onnx", "-o", "folder"]).assert_error(1, &["it is a folder"]);
    place
        .run(&["rewrite", "model.onnx", "-o", "missing/out.onnx"])
        .assert_error(1, &["there is no folder missing"]);
}

#[test]
fn nothing_to_rewrite_is_an_exit_code_of_its_own() {
    let place = Place::with("bert-ts14");
    place.run(&["rewrite", "model.onnx"]).assert_done();
    let before = place.files();
    let ran =
        place.run(&["rewrite", "model.bit.onnx", "-o", "out.onnx", "--report", "report.json"]);
    assert_eq!(ran.code, Some(3), "{}", ran.text());
    assert!(ran.stderr.contains("Nothing to rewrite in model.bit.onnx"));
    let ran = place.run(&[
        "rewrite",
        "model.onnx",
        "--exclude",
        ".",
        "-o",
        "out.onnx",
        "--format",
        "json",
    ]);
    assert_eq!(ran.code, Some(3));
    assert_report(&serde_json::from_str(&ran.stdout).unwrap(), "model.onnx");
    assert_eq!(place.files(), before);
}

#[test]
fn a_model_of_an_old_opset_says_so() {
    let place = Place::empty();
    let text = r#"<ir_version: 5, opset_import: ["" : 10]>
        g (float[s, 2] x) => (float[s, 2] z) <float[2, 2] v = {1, 2, 3, 4}, float[2, 2] w = {4, 3, 2, 1}>
        { [first] y = MatMul (x, v) [second] z = MatMul (y, w) }"#;
    let model = bitonnx::text::parse_model(text).unwrap();
    place.write("model.onnx", prost::Message::encode_to_vec(&model));
    let inspected = place.json(&["inspect", "model.onnx"]);
    for projection in inspected["projections"].as_array().unwrap() {
        assert_eq!(projection["action"], "keep");
        assert!(projection["reason"].as_str().unwrap().contains("opset 10"), "{projection}");
    }
    let ran = place.run(&["rewrite", "model.onnx", "--include", "."]);
    assert_eq!(ran.code, Some(3), "{}", ran.text());
    assert!(ran.stderr.contains("export the model with opset 11"), "{}", ran.stderr);
    let ran = place.run(&["explain", "model.onnx", "second"]);
    assert!(ran.stdout.contains("opset 10"), "{}", ran.text());
    assert_eq!(place.files().len(), 1);
}

/// Names of the nodes that a rewrite converts.
#[track_caller]
fn converted(place: &Place, args: &[&str]) -> Vec<String> {
    let report = place.json(&[&["rewrite", "model.onnx", "--dry-run"], args].concat());
    let projections = report["projections"].as_array().unwrap();
    let converted = projections.iter().filter(|p| p["action"] == "bitlinear");
    converted.map(|p| p["node"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_last_filter_that_matches_decides() {
    let place = Place::with("bert-ts14");
    let all = converted(&place, &[]);
    let query = converted(&place, &["--exclude", ".", "--include", "query"]);
    assert!(!query.is_empty() && query.iter().all(|name| name.contains("query")), "{query:?}");
    assert!(query.len() < all.len());
    assert_eq!(
        converted(&place, &["--include=query", "--exclude=layer.0", "--include=layer.0"]),
        all
    );
    let ran =
        place.run(&["rewrite", "model.onnx", "--dry-run", "--include", "query", "--exclude", "."]);
    assert_eq!(ran.code, Some(3));
}

#[test]
fn a_filter_must_match_something() {
    let place = Place::with("bert-ts14");
    let args = ["rewrite", "model.onnx", "--exclude", "nowhere"];
    let ran = place.run(&args);
    ran.assert_error(1, &["model.onnx", "nowhere", "--allow-unmatched"]);
    assert_snapshot!("cli@error_unmatched", ran.text());
    let ran = place.run(&[&args[..], &["--allow-unmatched"]].concat());
    ran.assert_done();
    assert!(ran.stderr.contains("warning: exclude \"nowhere\""), "{}", ran.stderr);
}

#[test]
fn options_come_from_a_file_and_the_command_line_wins() {
    let place = Place::with("bert-ts14");
    place.write(
        "bitonnx.toml",
        "granularity = 'channel'\nfilters = [{ exclude = '.' }, { include = 'query' }]\nallow-unmatched = true\n",
    );
    let dry = ["rewrite", "model.onnx", "--dry-run", "--config", "bitonnx.toml"];
    let report = place.json(&dry);
    assert_eq!(report["options"]["granularity"], "channel");
    let query = converted(&place, &["--config", "bitonnx.toml"]);
    assert!(query.iter().all(|name| name.contains("query")), "{query:?}");

    let report =
        place.json(&[&dry[..], &["--granularity", "tensor", "--include", "nowhere"]].concat());
    assert_eq!(report["options"]["granularity"], "tensor");
    assert!(report["warnings"][0].as_str().unwrap().contains("nowhere"));
    let key =
        converted(&place, &["--config", "bitonnx.toml", "--include", "key", "--exclude", "query"]);
    assert!(!key.is_empty() && key.iter().all(|name| name.contains("key")), "{key:?}");

    place.write(
        "bitonnx.toml",
        "subln = 'output'\nlrc-rank = 2\nlrc_init = 'zeros'\nqat = true\ntrainable = 'lrc-only'\n\
         trainable-filters = [{ include = 'bias' }]\n",
    );
    let given = "--subln output --lrc-rank 2 --lrc-init zeros --qat --trainable lrc-only";
    let given = given.split(' ').chain(["--trainable-include", "bias"]).collect::<Vec<_>>();
    let file = ["--config", "bitonnx.toml", "--overwrite"];
    let rewrite = ["rewrite", "model.onnx"];
    let from_line = (place.json(&[&rewrite[..], &given].concat()), place.files());
    let from_file = (place.json(&[&rewrite[..], &file].concat()), place.files());
    assert!(from_line == from_file, "{} {}", from_line.0["options"], from_file.0["options"]);
    assert_eq!(from_file.0["options"]["lrc_init"], "zeros");
    let report = place.json(&[&rewrite[..], &file, &["--lrc-ratio", "0.5"]].concat());
    assert_eq!(report["options"].get("lrc_rank"), None);
    assert_eq!(report["options"]["lrc_ratio"], 0.5);
}

#[test]
fn a_file_of_options_that_has_others_is_refused() {
    let place = Place::with("bert-ts14");
    let run = |text: &str| {
        place.write("bitonnx.toml", text);
        place.run(&["rewrite", "model.onnx", "--config", "bitonnx.toml"])
    };
    let ran = run("granularity = 'tensor'\ngranularty = 'channel'\n");
    ran.assert_error(1, &["bitonnx.toml", "line 2", "granularty"]);
    assert_snapshot!("cli@error_config", ran.text());
    run("granularity = 'row'\n").assert_error(1, &["row", "channel"]);
    run("filters = [{ include = '(' }]\n").assert_error(1, &["(", "unclosed"]);
    run("filters = [{ exclud = 'x' }]\n").assert_error(1, &["exclud"]);
    run("granularity = \n").assert_error(1, &["line 1"]);
    place
        .run(&["rewrite", "model.onnx", "--config", "missing.toml"])
        .assert_error(1, &["missing.toml can't be read"]);
}

#[test]
fn files_that_are_no_models_are_errors() {
    let place = Place::with("bert-ts14");
    let whole = fs::read(place.path("model.onnx")).unwrap();
    fs::create_dir(place.path("folder")).unwrap();
    place.write("empty.onnx", "");
    let mut noise = Vec::new();
    for seed in 0u64..20_000 {
        noise.extend((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).to_le_bytes());
    }
    place.write("noise.onnx", noise);
    place.write("text.onnx", "not a model\n");
    place.write("truncated.onnx", &whole[..whole.len() / 2]);
    place.write("page.onnx", "<!DOCTYPE html>\n<html><body>Sign in</body></html>\n");
    place.write(
        "pointer.onnx",
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 5\n",
    );
    for file in [
        "missing.onnx",
        "folder",
        "empty.onnx",
        "noise.onnx",
        "text.onnx",
        "truncated.onnx",
        "page.onnx",
        "pointer.onnx",
    ] {
        for command in ["inspect", "rewrite", "show"] {
            place.run(&[command, file]).assert_error(1, &[file]);
        }
        place.run(&["explain", file, "x"]).assert_error(1, &[file]);
    }
    assert_snapshot!("cli@error_missing", place.run(&["inspect", "missing.onnx"]).text());
    assert_snapshot!("cli@error_empty", place.run(&["inspect", "empty.onnx"]).text());
    assert_snapshot!("cli@error_truncated", place.run(&["inspect", "truncated.onnx"]).text());
    assert_snapshot!("cli@error_page", place.run(&["inspect", "page.onnx"]).text());
    assert_snapshot!("cli@error_pointer", place.run(&["inspect", "pointer.onnx"]).text());
    for length in (1..whole.len()).step_by(whole.len() / 23) {
        place.write("truncated.onnx", &whole[..length]);
        place.run(&["rewrite", "truncated.onnx"]).assert_error(1, &["truncated.onnx"]);
    }
}

#[test]
fn external_data_are_read_and_written() {
    let place = Place::with("llama-untied-dyn18ext");
    place.run(&["rewrite", "model.onnx", "--external-data", "always"]).assert_done();
    let files = place.files();
    let data = files.keys().find(|name| name.starts_with("model.bit.onnx.")).unwrap();
    assert!(files[data].len() > files["model.bit.onnx"].len() / 4);
    let kept = place.json(&["inspect", "model.bit.onnx"]);
    assert!(kept["projections"].as_array().unwrap().iter().all(|p| p["action"] == "keep"));

    fs::remove_file(place.path("model.onnx.data")).unwrap();
    place.run(&["inspect", "model.onnx"]).assert_error(1, &["model.onnx.data"]);
}

#[test]
fn a_kill_leaves_the_old_file_or_the_new_one() {
    let place = Place::with("bert-ts14");
    let args = ["rewrite", "model.onnx", "-o", "out.onnx", "--overwrite", "-q"];
    let began = Instant::now();
    place.run(&args).assert_done();
    let whole = began.elapsed();
    let new = place.files()["out.onnx"].clone();
    let (mut olds, mut news) = (0, 0);
    for moment in 0..400u32 {
        if moment >= 50 && news > 0 {
            break;
        }
        let old = b"the old file".to_vec();
        place.write("out.onnx", &old);
        let mut child = place.command(&args).stdout(Stdio::null()).spawn().unwrap();
        // Past the end, until both outcomes are seen: a busy machine may take longer than it did.
        std::thread::sleep(whole * moment / 40);
        child.kill().unwrap();
        child.wait().unwrap();
        let found = fs::read(place.path("out.onnx")).unwrap();
        assert!(found == old || found == new, "{} bytes after a kill", found.len());
        if found == old { olds += 1 } else { news += 1 }
    }
    assert!(olds > 0 && news > 0, "{olds} old, {news} new");
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let place = Place::with("bert-ts14");
    for args in [
        &["show", "model.onnx"][..],
        &["inspect", "model.onnx"],
        &["completions", "bash"],
        &["kernels"],
    ] {
        let mut child = place
            .command(args)
            .arg("-q")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn wrong_usage_is_exit_2() {
    let place = Place::with("bert-ts14");
    for args in [
        &[][..],
        &["inspect"],
        &["rewrite", "model.onnx", "--subln", "everywhere"],
        &["rewrite", "model.onnx", "--lrc-rank", "0"],
        &["rewrite", "model.onnx", "--lrc-ratio", "0"],
        &["rewrite", "model.onnx", "--lrc-ratio", "1.5"],
        &["rewrite", "model.onnx", "--lrc-rank", "4", "--lrc-ratio", "0.5"],
        &["rewrite", "model.onnx", "--lrc-init", "svd"],
        &["rewrite", "model.onnx", "--trainable", "lrc-only"],
        &["rewrite", "model.onnx", "--include", "("],
        &["inspect", "model.onnx", "-q", "-v"],
        &["inspect", "model.onnx", "--format", "yaml"],
        #[cfg(feature = "runtime")]
        &["run", "model.onnx"],
        &["run", "model.onnx", "--random", "--dim", "seq"],
        &["run", "model.onnx", "--random", "--input", "x.npz"],
        &["run", "model.onnx", "--input", "x.npz", "--threads", "0"],
        &["completions", "tcsh"],
        &["convert", "model.onnx"],
    ] {
        let ran = place.run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{args:?}: {}", ran.stderr);
    }
    place.run(&["--help"]).assert_done();
    assert_eq!(
        place.run(&["--version"]).stdout,
        format!("bitonnx {}\n", env!("CARGO_PKG_VERSION"))
    );
}

/// Most of it is what `Options` documents of its fields.
#[test]
fn the_options_of_a_rewrite() {
    let help = Place::empty().run(&["rewrite", "--help"]);
    assert_snapshot!("cli@help_rewrite", help.text());
}

#[test]
fn explain_names_the_rule() {
    let place = Place::with("bert-ts14");
    let inspected = place.json(&["inspect", "model.onnx"]);
    let node = inspected["projections"][0]["node"].as_str().unwrap();
    let ran = place.run(&["explain", "model.onnx", node]);
    ran.assert_done();
    assert_snapshot!("cli@explain_match", ran.text());
    let json = place.json(&["explain", "model.onnx", node]);
    let explanation = &json["explanations"][0];
    assert_eq!(explanation["outcome"], "converted");
    assert_eq!(explanation["projection"], inspected["projections"][0]);
    assert_ne!(explanation["rule"]["find"], "");
}

#[test]
fn explain_names_the_nearest_rule_and_what_stopped_it() {
    let place = Place::with("bert-ts14");
    let scores = "/encoder/layer.0/attention/self/MatMul";
    let ran = place.run(&["explain", "model.onnx", scores]);
    ran.assert_done();
    assert_snapshot!("cli@explain_miss", ran.text());
    let json = place.json(&["explain", "model.onnx", scores]);
    assert_eq!(json["explanations"][0]["outcome"], "missed");
}

#[test]
fn explain_says_why_a_rule_refuses() {
    let place = Place::with("bert-ts14-int8dyn");
    let inspected = place.json(&["inspect", "model.onnx"]);
    let node = inspected["projections"][0]["node"].as_str().unwrap();
    let ran = place.run(&["explain", "model.onnx", node]);
    ran.assert_done();
    assert_snapshot!("cli@explain_refusal", ran.text());
}

/// A product of packed weights, of int8 ones, and of ones that are dequantised.
#[test]
fn what_stays_has_its_features_and_role() {
    let place = Place::empty();
    let ones = |count: usize| vec!["1"; count].join(", ");
    let (words, square, packed, column) = (ones(36), ones(16), ones(72), ones(9));
    for head in [
        "y = com.microsoft.MatMulNBits <K = 4, N = 9, bits = 4, block_size = 16> (s, P, S)",
        "q, qs, qz = DynamicQuantizeLinear(s) y = MatMulInteger(q, W, qz)",
        "q, qs, qz = DynamicQuantizeLinear(s)
         d = DequantizeLinear(q, qs, qz) w = DequantizeLinear(W, scale) y = MatMul(d, w)",
    ] {
        place.write_model(
            "model.onnx",
            &format!(
                "g (int64[t] ids) => (float[t, 9] y)
                 <float[9, 4] words = {{{words}}}, float[4, 4] A = {{{square}}},
                  float[4, 4] B = {{{square}}}, uint8[9, 1, 8] P = {{{packed}}},
                  float[9] S = {{{column}}}, uint8[4, 9] W = {{{words}}}, float scale = {{0.5}}> {{
                     x = Gather(words, ids) a = MatMul(x, A) h = Relu(a) b = MatMul(h, B)
                     s = Add(x, b) {head} }}"
            ),
        );
        let json = place.json(&["inspect", "model.onnx"]);
        let last = json["projections"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["in_features"], &last["out_features"]), (&4.into(), &9.into()), "{last}");
        assert_eq!((&last["role"], &last["action"]), (&"lm_head".into(), &"keep".into()), "{last}");
    }
}

#[test]
fn explain_suggests_names() {
    let place = Place::with("bert-ts14");
    let ran = place.run(&["explain", "model.onnx", "layer.1/attention/self/query/MatMul"]);
    ran.assert_error(1, &["/encoder/layer.1/attention/self/query/MatMul"]);
    let ran = place.run(&["explain", "model.onnx", "/encoder/layer.1/attention/self/qeury/MatMul"]);
    ran.assert_error(1, &["/encoder/layer.1/attention/self/query/MatMul"]);
    assert_snapshot!("cli@error_node", ran.text());
}

#[test]
fn show_prints_a_model_and_a_difference() {
    let place = Place::with("llama-dyn18-slim");
    let short = place.run(&["show", "model.onnx"]);
    short.assert_done();
    let full = place.run(&["show", "model.onnx", "--full"]);
    assert!(full.stdout.len() > 10 * short.stdout.len());
    assert_eq!(
        place.json(&["show", "model.onnx"])["text"].as_str().unwrap().trim_end(),
        short.stdout.trim_end()
    );

    let ran = place.run(&["show", "model.onnx", "model.onnx"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
    place.run(&["rewrite", "model.onnx"]).assert_done();
    let ran = place.run(&["show", "model.onnx", "model.bit.onnx"]);
    ran.assert_done();
    assert!(
        ran.stdout.lines().any(|line| line.starts_with('+') && line.contains("bitonnx.BitLinear"))
    );
    assert!(ran.stdout.lines().any(|line| line.starts_with('-') && line.contains("MatMul")));
    assert_eq!(place.json(&["show", "model.onnx", "model.bit.onnx"])["same"], false);
}

#[test]
fn kernels_end_with_the_scalar_one() {
    let place = Place::empty();
    let kernels = place.json(&["kernels"]);
    let available = kernels["available"].as_array().unwrap();
    assert_eq!(available.last().unwrap(), "scalar");
    assert_eq!(kernels["chosen"], available[0]);
    let run = |kernel: &str| {
        Ran::from(place.command(&["kernels"]).env("BITONNX_KERNEL", kernel).output().unwrap())
    };
    assert!(run("scalar").stdout.contains("scalar  chosen"));
    run("neon9").assert_error(1, &["neon9", "scalar"]);
}

#[test]
fn every_shell_has_completions() {
    let place = Place::empty();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = place.run(&["completions", shell]);
        ran.assert_done();
        assert!(ran.stdout.contains("external-data"), "{shell}");
    }
}

#[cfg(not(feature = "runtime"))]
#[test]
fn run_needs_the_runtime() {
    let place = Place::with("bert-ts14");
    place.run(&["run", "model.onnx", "--random"]).assert_error(1, &["this build", "runtime"]);
}

#[cfg(feature = "runtime")]
mod run {
    use super::*;
    use bitonnx::npz::Array;

    /// A run of `bert-ts14` on inputs that are made up.
    const RANDOM: [&str; 7] =
        ["run", "model.onnx", "--random", "--dim", "batch=1", "--dim", "seq=3"];

    #[test]
    fn random_inputs_give_outputs_and_times() {
        let place = Place::with("bert-ts14");
        let args =
            ["run", "model.onnx", "--random", "--seed", "7", "--dim", "batch=2", "--dim", "seq=5"];
        let json = place.json(&[&args[..], &["--threads", "1", "--output", "out.npz"]].concat());
        let shape = |v: &Value| {
            v["shape"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap()).collect()
        };
        let shapes: Vec<Vec<u64>> = json["inputs"].as_array().unwrap().iter().map(shape).collect();
        assert_eq!(shapes, vec![vec![2, 5]; json["inputs"].as_array().unwrap().len()]);
        assert_eq!(json["inputs"][0]["name"], "input_ids");
        assert_eq!(json["inputs"][0]["dtype"], "int64");
        assert_eq!(shape(&json["outputs"][0]).first(), Some(&2));
        assert_eq!((&json["model"], &json["threads"]), (&"model.onnx".into(), &1.into()));
        for time in ["load_ms", "first_ms"] {
            assert!(json[time].as_f64().unwrap() > 0.0, "{time}");
        }
        for absent in ["repeat", "min_ms", "median_ms", "max_ms"] {
            assert!(json.get(absent).is_none(), "{absent}");
        }
        assert_eq!(json["kernel"], place.json(&["kernels"])["chosen"]);
        assert!(cfg!(not(target_os = "linux")) || json["peak_bytes"].as_u64().unwrap() > 1 << 20);

        // The same seed gives the same inputs, and so the same file.
        let first = fs::read(place.path("out.npz")).unwrap();
        place
            .run(&[&args[..], &["--threads", "1", "--output", "again.npz"]].concat())
            .assert_done();
        assert_eq!(fs::read(place.path("again.npz")).unwrap(), first);
        let ran = place.run(&["run", "model.onnx", "--input", "out.npz"]);
        ran.assert_error(1, &["model.onnx", "no input"]);
    }

    #[test]
    fn repeats_are_timed() {
        let place = Place::with("bert-ts14");
        let args = [&RANDOM[..], &["--repeat", "4"]].concat();
        let json = place.json(&args);
        assert_eq!(json["repeat"], 4);
        let [min, median, max] =
            ["min_ms", "median_ms", "max_ms"].map(|k| json[k].as_f64().unwrap());
        assert!(0.0 < min && min <= median && median <= max);
        let text = place.run(&args).stdout;
        assert!(text.contains("4 more: min"), "{text}");
    }

    #[test]
    fn a_profile_shows_each_step() {
        let place = Place::with("bert-ts14");
        place.run(&["rewrite", "model.onnx"]).assert_done();
        let args = [
            "run",
            "model.bit.onnx",
            "--random",
            "--dim",
            "batch=1",
            "--dim",
            "seq=3",
            "--profile",
        ];
        let json = place.json(&args);
        let steps = json["profile"].as_array().unwrap();
        assert_eq!(steps.iter().filter(|step| step["op"] == "BitLinear").count(), 12);
        assert!(place.run(&args).stdout.contains("SLOWEST STEPS"));
    }

    #[test]
    fn dimensions_without_a_size_are_named() {
        let place = Place::with("bert-ts14");
        let ran = place.run(&["run", "model.onnx", "--random", "--dim", "seq=4"]);
        ran.assert_error(1, &["`batch`", "--dim 'batch=1'"]);
        assert_snapshot!(
            "cli@error_dimensions",
            place.run(&["run", "model.onnx", "--random"]).text()
        );
        let args = [
            "run",
            "model.onnx",
            "--random",
            "--dim",
            "batch=1",
            "--dim",
            "seq=4",
            "--dim",
            "sequence=4",
        ];
        place.run(&args).assert_error(1, &["sequence", "`seq`"]);
    }

    #[test]
    fn a_model_without_its_inputs_is_told_what_to_give() {
        let place = Place::with("bert-ts14");
        let ran = place.run(&["run", "model.onnx"]);
        ran.assert_error(2, &["--input FILE.npz", "--random", "--dim 'batch=1' --dim 'seq=16'"]);
        assert_snapshot!("cli@error_inputs", ran.text());
        place.write_model(
            "made.onnx",
            "g () => (float[2] y) { y = Constant <value_floats = [1.0, 2.0]> () }",
        );
        place.run(&["run", "made.onnx"]).assert_done();
    }

    /// `y = x + lambda`, and a model without that input.
    #[test]
    fn lambda_is_an_option() {
        let place = Place::empty();
        place.write_model(
            "qat.onnx",
            "g (float[2] x, float lambda) => (float[2] y) { y = Add(x, lambda) }",
        );
        place.write_model("one.onnx", "g (float lambda) => (float y) { y = Neg(lambda) }");
        place.write_model("plain.onnx", "g (float[2] x) => (float[2] y) { y = Neg(x) }");
        place.write_model(
            "default.onnx",
            "g (float[2] x, float lambda = {0.5}) => (float[2] y) { y = Add(x, lambda) }",
        );
        let output = |file: &str, args: &[&str]| {
            place.run(&[&["run", file, "--output", "out.npz"], args].concat()).assert_done();
            match &bitonnx::npz::read(&place.path("out.npz")).unwrap()["y"] {
                Array::F32(y) => y.iter().copied().collect::<Vec<f32>>(),
                other => panic!("{other:?}"),
            }
        };
        let save = |file: &str, arrays: &[(&str, Array)]| {
            bitonnx::npz::write(&place.path(file), arrays.iter().map(|(n, a)| (*n, a))).unwrap();
        };
        let x = Array::F32(ndarray::arr1(&[1.0, 2.0]).into_dyn());
        let half = Array::F32(ndarray::arr0(0.5).into_dyn());
        save("x.npz", &[("x", x.clone())]);
        save("both.npz", &[("x", x), ("lambda", half)]);
        assert_eq!(output("qat.onnx", &["--input", "x.npz", "--lambda", "1"]), [2.0, 3.0]);
        assert_eq!(output("qat.onnx", &["--input", "both.npz"]), [1.5, 2.5]);
        assert_eq!(output("qat.onnx", &["--input", "both.npz", "--lambda", "0"]), [1.0, 2.0]);
        assert_eq!(output("default.onnx", &["--input", "x.npz"]), [1.5, 2.5]);
        assert_eq!(output("default.onnx", &["--input", "x.npz", "--lambda", "0.25"]), [1.25, 2.25]);
        assert_eq!(output("one.onnx", &["--lambda", "0.5"]), [-0.5]);
        let random = output("qat.onnx", &["--random", "--lambda", "0"]);
        assert_eq!(
            random,
            output("plain.onnx", &["--random"]).iter().map(|y| -y).collect::<Vec<_>>()
        );

        let missing = ["input `lambda` is missing", "--lambda 1"];
        place.run(&["run", "qat.onnx", "--input", "x.npz"]).assert_error(1, &missing);
        place.run(&["run", "qat.onnx", "--random"]).assert_error(1, &missing);
        place.run(&["run", "one.onnx"]).assert_error(1, &missing);
        let ran = place.run(&["run", "plain.onnx", "--random", "--lambda", "1"]);
        ran.assert_error(1, &["--lambda is of no use", "no input `lambda`", "`x`"]);
        for wrong in ["1.5", "-1", "nan", "much"] {
            let ran = place.run(&["run", "qat.onnx", "--random", &format!("--lambda={wrong}")]);
            assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        }
    }

    /// tract indexes out of bounds here. Nothing but the error is said about it.
    #[test]
    fn a_panic_of_tracts_is_an_error_like_any_other() {
        let place = Place::empty();
        place.write_model(
            "model.onnx",
            "g (float[2, 2] x) => (float[2, 2] y) { y = Transpose <perm = [0, 7]> (x) }",
        );
        let ran = place.run(&["run", "model.onnx", "--random"]);
        ran.assert_error(1, &["tract panicked: index out of bounds", "onnx.checker"]);
        place.write_model(
            "model.onnx",
            "g (float[2, 2] x) => (int64[2] y) { y = ArgMax <axis = 9> (x) }",
        );
        let ran = place.run(&["run", "model.onnx", "--random"]);
        ran.assert_error(1, &["tract panicked"]);
        assert!(!ran.stderr.contains("backtrace"), "{}", ran.stderr);

        // What it says of its own arrays as it runs is told on request.
        place.write_model(
            "model.onnx",
            "g (int64[1] i) => (float[1] y) <float[3] c = {1, 2, 3}> { y = Gather(c, i) }",
        );
        let beyond = Array::I64(ndarray::arr1(&[5]).into_dyn());
        bitonnx::npz::write(&place.path("in.npz"), [("i", &beyond)]).unwrap();
        let run = |verbose: &[&str]| {
            let args = [&["run", "model.onnx", "--input", "in.npz"], verbose].concat();
            let ran = place.command(&args).output().unwrap();
            assert_eq!(ran.status.code(), Some(1));
            String::from_utf8(ran.stderr).unwrap()
        };
        assert!(!run(&[]).contains("index is 5"));
        assert!(run(&["-v"]).contains("index is 5"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn outputs_go_to_stdout_and_come_from_a_pipe() {
        let place = Place::with("bert-ts14");
        place.run(&[&RANDOM[..], &["--output", "out.npz"]].concat()).assert_done();
        for output in [["--output", "/dev/stdout"], ["-o", "-"]] {
            let args = [&RANDOM[..], &output, &["--format", "json"]].concat();
            let ran = place.command(&args).output().unwrap();
            assert!(ran.stdout == fs::read(place.path("out.npz")).unwrap());
            let told: Value = serde_json::from_slice(&ran.stderr).unwrap();
            assert_eq!(told["outputs"][0]["name"], "last_hidden_state");
        }
        place
            .run(&[&RANDOM[..], &["--output", "missing/out.npz"]].concat())
            .assert_error(1, &["missing/out.npz can't be written", "there is no folder missing"]);
    }

    #[test]
    fn inputs_are_never_overwritten() {
        let place = Place::with("bert-ts14");
        let args = [&RANDOM[..], &["--output", "model.onnx"]].concat();
        place.run(&args).assert_error(1, &["model.onnx can't be written"]);
    }

    #[test]
    fn a_cache_may_be_empty_or_not() {
        let place = Place::with("gpt2-kv-optimum");
        for past in ["0", "3"] {
            let past = format!("past_sequence_length={past}");
            let args = [
                "run",
                "model.onnx",
                "--random",
                "--dim",
                "batch_size=1",
                "--dim",
                "sequence_length=2",
            ];
            let json = place.json(&[&args[..], &["--dim", &past]].concat());
            assert_eq!(json["outputs"][0]["name"], "logits");
        }
    }
}

mod import_weights {
    use super::*;
    use bitonnx::proto::{self, ModelProto};

    const IMPORT: [&str; 3] = ["import-weights", "model.qat.onnx", "W.safetensors"];

    /// Holds what `rewrite --qat` makes of `bert-ts14`.
    fn place() -> Place {
        let place = Place::with("bert-ts14");
        let args = ["rewrite", "model.onnx", "--qat", "--subln", "output", "--lrc-rank", "2"];
        place.run(&args).assert_done();
        place
    }

    impl Place {
        fn load(&self, name: &str) -> ModelProto {
            proto::load(&self.path(name)).unwrap()
        }

        /// The names of the initializers that the manifest of `model.qat.onnx` says to train.
        fn trainable(&self) -> Vec<String> {
            let manifest = fs::read(self.path("model.qat.json")).unwrap();
            let manifest: Value = serde_json::from_slice(&manifest).unwrap();
            let entries = manifest["initializers"].as_array().unwrap().iter();
            let names = entries.filter(|entry| entry["trainable"] == true);
            names.map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
        }

        /// Writes every trainable initializer times 1.5, and returns their names.
        fn train(&self) -> Vec<String> {
            let names = self.trainable();
            let mut tensors = stored(&self.load("model.qat.onnx"));
            tensors.retain(|tensor| names.iter().any(|name| name == tensor.name()));
            for tensor in &mut tensors {
                let grown: Vec<f32> = floats(tensor).iter().map(|v| 1.5 * v).collect();
                tensor.float_data = Vec::new();
                tensor.raw_data = Some(grown.iter().flat_map(|v| v.to_le_bytes()).collect());
            }
            self.write_weights(&tensors);
            names
        }
    }

    fn stored(model: &ModelProto) -> Vec<TensorProto> {
        model.graph.as_ref().unwrap().initializer.clone()
    }

    fn floats(tensor: &TensorProto) -> Vec<f32> {
        assert_eq!(tensor.data_type(), DataType::Float as i32, "{}", tensor.name());
        let bytes = raw_bytes(tensor).unwrap();
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    }

    /// What a model's BitLinears are scaled by, in their order.
    fn scales(model: &ModelProto) -> Vec<(String, Vec<f32>)> {
        let bit_linears = model.graph.as_ref().unwrap().node.iter();
        let bit_linears = bit_linears.filter(|node| node.op_type() == "BitLinear");
        let of = |name: &String| {
            stored(model).into_iter().find(|t| t.name() == name && name.ends_with("_scale"))
        };
        let found = bit_linears.map(|node| node.input.iter().find_map(of).unwrap());
        found.map(|tensor| (tensor.name().to_owned(), floats(&tensor))).collect()
    }

    /// The model with every initializer's data in the same field.
    fn alike(mut model: ModelProto) -> ModelProto {
        for tensor in &mut model.graph.as_mut().unwrap().initializer {
            *tensor = TensorProto {
                name: tensor.name.clone(),
                data_type: tensor.data_type,
                dims: tensor.dims.clone(),
                doc_string: tensor.doc_string.clone(),
                raw_data: Some(raw_bytes(tensor).unwrap().into_owned().into()),
                ..TensorProto::default()
            };
        }
        model
    }

    #[test]
    fn trained_weights_reach_the_ternary_model() {
        let place = place();
        let names = place.train();
        let before = place.files();
        let ran = place.run(&IMPORT);
        ran.assert_done();
        assert!(ran.stdout.contains("next: bitonnx rewrite model.trained.qat.onnx"));
        let after = place.files();
        let new: Vec<_> = after.keys().filter(|name| !before.contains_key(*name)).collect();
        assert_eq!(new, ["model.trained.qat.json", "model.trained.qat.onnx"]);
        assert!(before.iter().all(|(name, content)| after[name] == *content));
        assert_eq!(after["model.trained.qat.json"], before["model.qat.json"]);

        let (old, new) = (place.load("model.qat.onnx"), place.load("model.trained.qat.onnx"));
        for (old, new) in stored(&old).iter().zip(&stored(&new)) {
            assert_eq!(old.name(), new.name());
            if names.iter().any(|name| name == old.name()) {
                let grown = floats(old).iter().map(|v| 1.5 * v).collect::<Vec<_>>();
                assert_eq!(floats(new), grown, "{}", old.name());
            } else {
                assert_eq!(raw_bytes(old), raw_bytes(new), "{}", old.name());
            }
        }

        place.run(&["rewrite", "model.qat.onnx"]).assert_done();
        place.run(&["rewrite", "model.trained.qat.onnx"]).assert_done();
        let old = scales(&place.load("model.bit.onnx"));
        let new = scales(&place.load("model.trained.bit.onnx"));
        // Two layers of q, k, v, o, fc1 and fc2.
        assert!(old.len() >= 12 && old.len() == new.len(), "{} scales", old.len());
        for ((name, old), (_, new)) in old.iter().zip(&new) {
            assert_eq!(old.len(), new.len());
            for (old, new) in old.iter().zip(new) {
                // Weights are rounded once when they grow, and a scale once when it is a mean.
                assert!(*old > 0.0 && (new / old - 1.5).abs() < 1e-6, "{name}: {old} to {new}");
            }
        }
    }

    #[test]
    fn unchanged_weights_give_the_same_model() {
        let place = place();
        let source = place.load("model.qat.onnx");
        let tensors = stored(&source);
        place.write_weights(&tensors);
        let json = place.json(&IMPORT);
        let count = |key: &str| json[key].as_array().unwrap().len();
        let trained = place.trainable().len();
        assert!(trained > 0 && trained < tensors.len());
        assert_eq!(count("imported"), trained);
        assert_eq!(count("frozen"), tensors.len() - trained);
        assert_eq!(count("missing"), 0);
        assert_eq!(json["manifest"], "model.trained.qat.json");
        assert!(alike(place.load("model.trained.qat.onnx")) == alike(source));
    }

    #[test]
    fn a_part_must_be_asked_for() {
        let place = place();
        let names = place.trainable();
        let source = place.load("model.qat.onnx");
        let mut tensors = stored(&source);
        tensors.retain(|tensor| tensor.name() == names[0]);
        place.write_weights(&tensors);
        let before = place.files();
        let missing = format!("`{}`", names[1]);
        place.run(&IMPORT).assert_error(1, &["W.safetensors", "missing", &missing, "--partial"]);
        assert_eq!(place.files(), before);
        let json = place.json(&[&IMPORT[..], &["--partial"]].concat());
        assert_eq!(json["imported"], serde_json::json!([names[0]]));
        assert_eq!(json["missing"], serde_json::json!(names[1..]));
        assert!(alike(place.load("model.trained.qat.onnx")) == alike(source));
    }

    #[test]
    fn a_source_takes_weights_without_a_manifest() {
        let place = Place::with("bert-ts14");
        let source = place.load("model.onnx");
        let mut tensors = stored(&source);
        tensors.retain(|t| t.data_type() == DataType::Float as i32 && !t.dims.is_empty());
        place.write_weights(&tensors);
        let json = place.json(&["import-weights", "model.onnx", "W.safetensors"]);
        assert_eq!(json["output"], "model.trained.onnx");
        assert_eq!(json["manifest"], Value::Null);
        assert!(!place.path("model.trained.qat.json").exists());
        assert!(alike(place.load("model.trained.onnx")) == alike(source));
    }

    #[test]
    fn data_in_a_file_of_their_own_stay_in_one() {
        let place = Place::with("llama-untied-dyn18ext");
        let source = place.load("model.onnx");
        let mut tensors = stored(&source);
        tensors.retain(|t| t.data_type() == DataType::Float as i32 && t.dims.len() == 2);
        place.write_weights(&tensors);
        let before = place.files();
        let import = ["import-weights", "model.onnx", "W.safetensors", "--partial"];
        let to_data = [&import[..], &["-o", "model.onnx.data", "--overwrite"]].concat();
        place.run(&to_data).assert_error(1, &["model.onnx.data can't be written", "reads"]);
        assert!(place.files() == before);

        place.run(&import).assert_done();
        let after = place.files();
        let new: Vec<_> = after.keys().filter(|name| !before.contains_key(*name)).collect();
        let [model, data] = new[..] else { panic!("{new:?}") };
        assert_eq!(model, "model.trained.onnx");
        assert!(data.starts_with("model.trained.onnx.") && data.ends_with(".data"), "{data}");
        assert!(before.iter().all(|(name, content)| after[name] == *content));
        assert!(alike(place.load("model.trained.onnx")) == alike(source));
    }

    #[test]
    fn nothing_is_overwritten_without_the_word() {
        let place = place();
        place.train();
        for target in ["model.trained.qat.onnx", "model.trained.qat.json"] {
            place.write(target, "not to be lost");
            let before = place.files();
            place.run(&IMPORT).assert_error(1, &[target, "it exists already", "--overwrite"]);
            assert_eq!(place.files(), before);
            fs::remove_file(place.path(target)).unwrap();
        }
        place.run(&IMPORT).assert_done();
        place.run(&IMPORT).assert_error(1, &["model.trained.qat.onnx", "it exists already"]);
        place.run(&[&IMPORT[..], &["--overwrite"]].concat()).assert_done();
    }

    fn to(target: &str) -> Vec<&str> {
        [&IMPORT[..], &["-o", target]].concat()
    }

    /// The model itself may be replaced, if one asks for it; nothing else that is read may.
    #[test]
    fn what_is_read_is_not_the_target() {
        let place = place();
        place.train();
        let before = place.files();
        place.run(&to("model.qat.onnx")).assert_error(1, &["model.qat.onnx", "it exists already"]);
        for target in ["W.safetensors", "model.qat.json"] {
            let ran = place.run(&[&to(target)[..], &["--overwrite"]].concat());
            ran.assert_error(1, &[&format!("{target} can't be written"), "reads"]);
        }
        assert_eq!(place.files(), before);

        place.run(&IMPORT).assert_done();
        place.run(&[&to("model.qat.onnx")[..], &["--overwrite"]].concat()).assert_done();
        let after = place.files();
        assert_eq!(after["model.qat.onnx"], after["model.trained.qat.onnx"]);
        assert_eq!(after["model.qat.json"], before["model.qat.json"]);
    }
}

/// A model and its data in the Hugging Face cache, where files are links into one folder.
#[cfg(unix)]
mod hugging_face {
    use super::*;
    use bitonnx::proto;
    use std::os::unix::fs::symlink;

    const SNAPSHOT: &str = "hub/models--org--name/snapshots/0123abcd/onnx";
    const BLOBS: &str = "hub/models--org--name/blobs";

    /// The files of `llama-untied-dyn18ext` in such a cache, those that are linked as links.
    fn cache(linked: &[&str]) -> Place {
        let place = Place::empty();
        let from =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama-untied-dyn18ext");
        for folder in [SNAPSHOT, BLOBS, "hub/models--org--name/refs"] {
            fs::create_dir_all(place.path(folder)).unwrap();
        }
        place.write("hub/models--org--name/refs/main", "0123abcd");
        for (name, blob) in [("model.onnx", "5a1b"), ("model.onnx.data", "e7f0")] {
            let file = place.path(SNAPSHOT).join(name);
            if linked.contains(&name) {
                fs::copy(from.join(name), place.path(BLOBS).join(blob)).unwrap();
                symlink(format!("../../../blobs/{blob}"), file).unwrap();
            } else {
                fs::copy(from.join(name), file).unwrap();
            }
        }
        place
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let mut names: Vec<_> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Every command reads the model, from outside and inside of its folder, and writes beside the links.
    #[test]
    fn models_are_read_and_written_in_a_snapshot() {
        let plain = Place::with("llama-untied-dyn18ext");
        let expected = proto::load(&plain.path("model.onnx")).unwrap();
        let linked =
            [&["model.onnx", "model.onnx.data"][..], &["model.onnx"], &["model.onnx.data"]];
        for linked in linked {
            let place = cache(linked);
            let folder = place.path(SNAPSHOT);
            let blobs = names(&place.path(BLOBS));
            let done = |args: &[&str]| {
                let outside = format!("{SNAPSHOT}/model.onnx");
                let given: Vec<&str> =
                    args.iter().map(|a| if *a == "model.onnx" { &outside } else { *a }).collect();
                Ran::from(place.command(&given).output().unwrap()).assert_done();
                let inside = place.command(args).current_dir(&folder).output().unwrap();
                Ran::from(inside).assert_done();
            };
            assert!(proto::load(&folder.join("model.onnx")).unwrap() == expected);
            done(&["inspect", "model.onnx"]);
            done(&["show", "model.onnx"]);
            #[cfg(feature = "runtime")]
            done(&["run", "model.onnx", "--random", "--dim", "batch=1", "--dim", "seq=2"]);
            done(&["rewrite", "model.onnx", "--external-data", "always", "--overwrite"]);
            let tensors = expected.graph.as_ref().unwrap().initializer.iter();
            let tensors: Vec<_> = tensors.filter(|t| t.dims.len() == 2).cloned().collect();
            place.write_weights(&tensors);
            fs::rename(place.path("W.safetensors"), folder.join("W.safetensors")).unwrap();
            let weights = folder.join("W.safetensors");
            let weights = weights.to_str().unwrap();
            done(&["import-weights", "model.onnx", weights, "--partial", "--overwrite"]);

            assert_eq!(names(&place.path(BLOBS)), blobs, "written into the blobs");
            let written = names(&folder);
            let endings = ["W.safetensors", "model.bit.onnx", "model.trained.onnx"];
            for name in written.iter().filter(|name| !name.starts_with("model.onnx")) {
                assert!(endings.iter().any(|e| name.starts_with(e)), "{name}");
                assert!(folder.join(name).symlink_metadata().unwrap().is_file(), "{name}");
            }
            assert_eq!(written.len(), 7, "{written:?}");
            let rewritten = proto::load(&folder.join("model.bit.onnx")).unwrap();
            assert!(rewritten.graph.unwrap().node.iter().any(|n| n.op_type() == "BitLinear"));
        }
    }

    /// What a link of the cache leads to belongs to every revision that has it.
    #[test]
    fn a_blob_is_never_replaced() {
        let place = cache(&["model.onnx", "model.onnx.data"]);
        let folder = place.path(SNAPSHOT);
        place.write(&format!("{BLOBS}/c0de"), "{}");
        symlink("../../../blobs/c0de", folder.join("report.json")).unwrap();
        let before = names(&place.path(BLOBS));
        let args = ["rewrite", "model.onnx", "--report", "report.json", "--overwrite"];
        let ran = place.command(&args).current_dir(&folder).output().unwrap();
        Ran::from(ran).assert_error(1, &["report.json can't be written", "Hugging Face cache"]);
        assert_eq!(names(&place.path(BLOBS)), before);
    }
}
