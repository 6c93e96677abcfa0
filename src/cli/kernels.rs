//! `kernels`: what BitLinears are computed with.

use super::{
    Exit, Failure,
    console::Console,
    table::{Align, Table},
};
use anstyle::Style;
use bitonnx::{
    Error, ErrorKind,
    kernels::{KERNEL_VARIABLE, Kernel},
};
use serde_json::json;

/// Prints this CPU's kernels, the best first.
pub fn run(console: &mut Console) -> Result<Exit, Failure> {
    let chosen = chosen()?.name();
    let names = Kernel::available().iter().map(Kernel::name);
    if console.json() {
        let available = names.collect::<Vec<_>>();
        console.print_json(&json!({ "available": available, "chosen": chosen }))?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new([("KERNEL", Align::Left), ("", Align::Left)]);
    for name in names {
        let mark = if name == chosen { "chosen" } else { "" };
        table.row(Style::new(), [name.to_owned(), mark.to_owned()]);
    }
    table.print(console)?;
    console.say(format_args!("{KERNEL_VARIABLE} in the environment chooses another."));
    Ok(Exit::Done)
}

/// The kernel that runs use.
pub fn chosen() -> bitonnx::Result<Kernel> {
    Kernel::from_env().map_err(|e| {
        Error::new(
            ErrorKind::InvalidOption,
            "no kernel could be chosen",
            e.to_string(),
            format!("set {KERNEL_VARIABLE} to one that `bitonnx kernels` lists, or unset it"),
        )
    })
}
