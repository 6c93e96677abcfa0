//! What can be typed.

use bitonnx::{
    proto::ExternalData,
    rewrite::{Filter, Options},
};
use clap::{
    Arg, ArgAction, ArgMatches, Command, FromArgMatches, Id, Parser, Subcommand, ValueEnum,
    parser::ValueSource,
};
use std::{num::NonZeroUsize, path::PathBuf};

/// Turn an exported ONNX transformer into a 1.58-bit one, and run it.
#[derive(Debug, Parser)]
#[command(name = "bitonnx", version, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 error, 2 usage, 3 nothing to rewrite.")]
pub struct Args {
    #[command(subcommand)]
    pub task: Task,
    #[command(flatten)]
    pub global: Global,
}

/// What every command takes.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Output")]
pub struct Global {
    /// How to print the result
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// Print results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print more
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// List a model's projections, and what `rewrite` would do with each
    Inspect(Inspect),
    /// Replace the projections of a model's transformer blocks by BitLinears
    Rewrite(Rewrite),
    /// Put trained tensors into the model that they were trained in
    ImportWeights(ImportWeights),
    /// Run a model with tract
    Run(Run),
    /// Print a model in ONNX's text syntax, or what differs between two
    Show(Show),
    /// Say which rule matches a node, or which comes nearest and what stops it
    Explain(Explain),
    /// List what this CPU can compute BitLinears with
    Kernels,
    /// Print a script that completes commands and options in a shell
    #[command(after_help = "Example: bitonnx completions zsh > ~/.zfunc/_bitonnx")]
    Completions(Completions),
}

#[derive(Debug, clap::Args)]
pub struct Inspect {
    /// The ONNX file
    pub model: PathBuf,
}

#[derive(Debug, clap::Args)]
#[command(after_help = REWRITE_HELP)]
pub struct Rewrite {
    /// The ONNX file
    pub model: PathBuf,
    /// The file to write; MODEL with `.bit.onnx` (`.qat.onnx` with --qat) in place of `.onnx` when not given
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub options: Given,
    /// Write nothing, only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Replace OUT and the report where they exist
    #[arg(long)]
    pub overwrite: bool,
    /// Write what was done to each projection to FILE, as JSON
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub report: Option<PathBuf>,
    /// Whether tensors go to a file beside OUT [default: auto]
    #[arg(long, value_enum, value_name = "WHEN")]
    pub external_data: Option<ExternalData>,
    /// Read options from a TOML file; those given here win
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

const REWRITE_HELP: &str = "\
--include and --exclude are found anywhere in a node's name, and the last that matches decides:
  bitonnx rewrite model.onnx --exclude '.' --include 'layers\\.[0-3]\\..*mlp'

The options from --subln to --trainable-exclude, and --external-data, in a file, for --config (its
filters come before those given here):
  granularity = \"channel\"
  lrc-rank = 8
  filters = [{ exclude = \".\" }, { include = 'layers\\.[0-3]\\..*mlp' }]";

/// The options of a rewrite, as far as they are given.
#[derive(Debug, Clone)]
pub struct Given(ArgMatches);

/// Name, whether it takes, whether it is about what the trainable variant trains, help.
const FILTERS: [(&str, bool, bool, &str); 4] = [
    (
        "include",
        true,
        false,
        "Convert the projections whose node's name matches, whatever their role",
    ),
    ("exclude", false, false, "Keep the projections whose node's name matches"),
    (
        "trainable-include",
        true,
        true,
        "Train the initializers whose name matches, whatever they are",
    ),
    ("trainable-exclude", false, true, "Freeze the initializers whose name matches"),
];

impl Given {
    /// Puts what is given in the place of what `options` has; filters come after those that are there.
    pub fn put_over(&self, options: &mut Options) {
        // They exclude each other, wherever they come from.
        if ["lrc_rank", "lrc_ratio"].iter().any(|id| self.0.contains_id(id)) {
            (options.lrc_rank, options.lrc_ratio) = (None, None);
        }
        options.update_from_arg_matches(&self.0).unwrap_or_else(|e| e.exit());
        options.filters.extend(self.filters(false));
        options.trainable_filters.extend(self.filters(true));
    }

    /// In the order in which they were given.
    fn filters(&self, trainable: bool) -> impl Iterator<Item = Filter> {
        let mut placed = Vec::new();
        for (name, ..) in FILTERS.iter().filter(|filter| filter.2 == trainable) {
            let filters = self.0.get_many::<Filter>(name).into_iter().flatten().cloned();
            placed.extend(self.0.indices_of(name).into_iter().flatten().zip(filters));
        }
        placed.sort_by_key(|(index, _)| *index);
        placed.into_iter().map(|(_, filter)| filter)
    }
}

impl clap::Args for Given {
    fn augment_args(command: Command) -> Command {
        Options::augment_args_for_update(command).args(FILTERS.map(|(name, include, _, help)| {
            let arg = Arg::new(name).long(name).value_name("REGEX").help(help);
            arg.action(ArgAction::Append).value_parser(move |pattern: &str| {
                Filter::new(include, pattern).map_err(|e| e.why().to_owned())
            })
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = matches.clone();
        // A flag that is not given is false for clap, and here it is not given.
        for id in matches.ids().map(Id::as_str) {
            if matches.value_source(id) == Some(ValueSource::DefaultValue) {
                let _ = given.try_clear_id(id);
            }
        }
        Ok(Given(given))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = IMPORT_WEIGHTS_HELP)]
pub struct ImportWeights {
    /// The ONNX file: what `rewrite --qat` wrote, or a source
    pub model: PathBuf,
    /// The trained tensors, keyed by initializer name
    #[arg(value_name = "W.safetensors")]
    pub weights: PathBuf,
    /// The file to write; MODEL with `.trained` before its ending when not given
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,
    /// Keep the model's data where the file has no tensor
    #[arg(long)]
    pub partial: bool,
    /// Replace OUT where it exists, be it MODEL itself
    #[arg(long)]
    pub overwrite: bool,
}

const IMPORT_WEIGHTS_HELP: &str = "\
The manifest beside a QAT file says which tensors are expected; without one, every float initializer of
more than one element is. Data that MODEL keeps in a file beside it, OUT does too.

Example: bitonnx import-weights model.qat.onnx trained.safetensors && bitonnx rewrite model.trained.qat.onnx";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: bitonnx run model.onnx --random --dim batch=1 --dim seq=16 --repeat 20"
)]
#[cfg_attr(not(feature = "runtime"), allow(dead_code, reason = "nothing reads them without it"))]
pub struct Run {
    /// The ONNX file
    pub model: PathBuf,
    /// Take the inputs from a numpy file: arrays named as the graph's inputs
    #[arg(long, value_name = "FILE.npz")]
    pub input: Option<PathBuf>,
    /// Make inputs up: token ids within the vocabulary, masks of ones, normal floats
    #[arg(long, conflicts_with = "input")]
    pub random: bool,
    /// Where --random starts from
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "input")]
    pub seed: u64,
    /// The size of a dimension, for --random: by its name, or as INPUT.AXIS
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dimension, conflicts_with = "input")]
    pub dims: Vec<(String, usize)>,
    /// The graph input `lambda` of a QAT variant: 0 computes in full precision, 1 quantised
    #[arg(long, value_name = "F", value_parser = blend)]
    pub lambda: Option<f32>,
    /// Write the outputs to a numpy file
    #[arg(short, long, value_name = "FILE.npz")]
    pub output: Option<PathBuf>,
    /// How many threads compute; as many as the CPU has cores when not given
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Run N more times and print how long that took
    #[arg(long, value_name = "N")]
    pub repeat: Option<NonZeroUsize>,
    /// Run once more and show where the time goes
    #[arg(long)]
    pub profile: bool,
}

fn dimension(text: &str) -> Result<(String, usize), String> {
    let (name, size) = text.rsplit_once('=').ok_or("it should read NAME=SIZE")?;
    let size = size.trim().parse().map_err(|_| format!("{size:?} is not a size"))?;
    Ok((name.trim().to_owned(), size))
}

fn blend(text: &str) -> Result<f32, String> {
    let lambda = text.parse().ok().filter(|lambda| (0.0..=1.0).contains(lambda));
    lambda.ok_or_else(|| format!("{text:?} is not a number from 0 to 1"))
}

#[derive(Debug, clap::Args)]
pub struct Show {
    /// The ONNX file
    pub model: PathBuf,
    /// A second one: print what differs
    pub other: Option<PathBuf>,
    /// Print the data of large tensors too; in a difference, every node
    #[arg(long)]
    pub full: bool,
}

#[derive(Debug, clap::Args)]
pub struct Explain {
    /// The ONNX file
    pub model: PathBuf,
    /// The node's name, or that of a value it makes
    pub node: String,
}

#[derive(Debug, clap::Args)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}
