//! What can be typed.

use super::config::{External, Granularity, LrcInit, Preset, Subln};
use bitonnx::rewrite::Filter;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::{marker::PhantomData, num::NonZeroUsize, path::PathBuf};

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
    /// Before which projections to insert an RMSNorm [default: attention, none where trained ternary]
    #[arg(long, value_enum, value_name = "WHERE")]
    pub subln: Option<Subln>,
    /// What shares one scale: the weight (or each part of a fused one), or each output row [default: tensor]
    #[arg(long, value_enum, value_name = "WHAT")]
    pub granularity: Option<Granularity>,
    /// Add a low-rank correction of rank R to each projection
    #[arg(long, value_name = "R", value_parser = rank, conflicts_with = "lrc_ratio")]
    pub lrc_rank: Option<usize>,
    /// The same, of rank max(1, floor(F · min(in, out)))
    #[arg(long, value_name = "F", value_parser = ratio)]
    pub lrc_ratio: Option<f64>,
    /// What the correction is at first [default: svd]
    #[arg(long, value_enum, value_name = "INIT")]
    pub lrc_init: Option<LrcInit>,
    /// Write the trainable variant: float weights that the input `lambda` blends into ternary ones
    #[arg(long)]
    pub qat: bool,
    /// Which parameters of the trainable variant its manifest says to train [default: all]
    #[arg(long, value_enum, value_name = "PRESET", requires = "qat")]
    pub trainable: Option<Preset>,
    #[command(flatten)]
    pub filters: Filters<Projections>,
    #[command(flatten)]
    pub trainable_filters: Filters<Initializers>,
    /// Only warn about an --include or --exclude that matches nothing
    #[arg(long)]
    pub allow_unmatched: bool,
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
    pub external_data: Option<External>,
    /// Read options from a TOML file; those given here win
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

const REWRITE_HELP: &str = "\
--include and --exclude are found anywhere in a node's name, and the last that matches decides:
  bitonnx rewrite model.onnx --exclude '.' --include 'layers\\.[0-3]\\..*mlp'

The same in a file, for --config (its filters come before those given here):
  granularity = \"channel\"        # tensor, channel
  subln = \"none\"                 # none, attention, output, all
  lrc-rank = 8                   # or lrc-ratio = 0.1
  lrc-init = \"svd\"               # svd, zeros
  external-data = \"auto\"         # auto, always, never
  allow-unmatched = false
  filters = [{ exclude = \".\" }, { include = 'layers\\.[0-3]\\..*mlp' }]";

fn rank(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a rank is a whole number from 1 on".into()),
        Ok(rank) => Ok(rank),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if ratio > 0.0 && ratio <= 1.0 => Ok(ratio),
        _ => Err("a ratio is more than 0 and at most 1".into()),
    }
}

/// Options that take and leave by name, in the order in which they were given.
#[derive(Debug, Clone)]
pub struct Filters<T>(pub Vec<Filter>, PhantomData<T>);

/// What a pair of such options is called and is about.
pub trait Filtered {
    /// Name, whether it takes, help.
    const OPTIONS: [(&str, bool, &str); 2];
}

/// `--include` and `--exclude`.
#[derive(Debug, Clone)]
pub struct Projections;

impl Filtered for Projections {
    const OPTIONS: [(&str, bool, &str); 2] = [
        ("include", true, "Convert the projections whose node's name matches, whatever their role"),
        ("exclude", false, "Keep the projections whose node's name matches"),
    ];
}

/// `--trainable-include` and `--trainable-exclude`.
#[derive(Debug, Clone)]
pub struct Initializers;

impl Filtered for Initializers {
    const OPTIONS: [(&str, bool, &str); 2] = [
        (
            "trainable-include",
            true,
            "Train the initializers whose name matches, against the preset",
        ),
        ("trainable-exclude", false, "Freeze the initializers whose name matches"),
    ];
}

impl<T: Filtered> clap::Args for Filters<T> {
    fn augment_args(command: Command) -> Command {
        command.args(T::OPTIONS.map(|(name, include, help)| {
            let arg = Arg::new(name).long(name).value_name("REGEX").help(help);
            let arg = if name.starts_with("trainable") { arg.requires("qat") } else { arg };
            arg.action(ArgAction::Append).value_parser(move |pattern: &str| {
                Filter::new(include, pattern).map_err(|e| e.why().to_owned())
            })
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<T: Filtered> FromArgMatches for Filters<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut placed = Vec::new();
        for (name, ..) in T::OPTIONS {
            let filters = matches.get_many::<Filter>(name).into_iter().flatten().cloned();
            placed.extend(matches.indices_of(name).into_iter().flatten().zip(filters));
        }
        placed.sort_by_key(|(index, _)| *index);
        Ok(Filters(placed.into_iter().map(|(_, filter)| filter).collect(), PhantomData))
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
    #[arg(long, value_name = "FILE.npz")]
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
