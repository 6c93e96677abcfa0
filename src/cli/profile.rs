//! `run --profile`: where the time goes.

use super::{
    console::Console,
    table::{Align, Table},
};
use anstyle::Style;
use bitonnx::runtime;
use serde::Serialize;
use std::{collections::HashMap, io, time::Duration};

/// One step of the run, in the order in which they ran.
#[derive(Debug, Serialize)]
pub struct Step {
    node: String,
    op: String,
    ms: f64,
}

impl From<runtime::Step> for Step {
    fn from(step: runtime::Step) -> Self {
        Step { node: step.node, op: step.op, ms: ms(step.took) }
    }
}

/// Steps shown one by one.
const SLOWEST: usize = 10;

/// Prints the time that each operator took, then the slowest steps.
pub fn print(steps: &[Step], console: &mut Console) -> io::Result<()> {
    let total = steps.iter().map(|step| step.ms).sum::<f64>();
    let share = |ms: f64| format!("{:.1} %", if total > 0.0 { 100.0 * ms / total } else { 0.0 });

    let mut operators: HashMap<&str, (usize, f64)> = HashMap::new();
    for step in steps {
        let (count, ms) = operators.entry(&step.op).or_default();
        *count += 1;
        *ms += step.ms;
    }
    let mut operators: Vec<_> = operators.into_iter().collect();
    operators.sort_by(|(a, (_, x)), (b, (_, y))| y.total_cmp(x).then(a.cmp(b)));
    let mut table = Table::new([
        ("OPERATOR", Align::Left),
        ("STEPS", Align::Right),
        ("MS", Align::Right),
        ("SHARE", Align::Right),
    ]);
    for (op, (count, ms)) in operators {
        let cells = [op.to_owned(), count.to_string(), format!("{ms:.3}"), share(ms)];
        table.row(Style::new(), cells);
    }
    writeln!(console.out())?;
    table.print(console)?;

    let mut slowest: Vec<&Step> = steps.iter().collect();
    slowest.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    let mut table = Table::new([
        ("SLOWEST STEPS", Align::Left),
        ("OPERATOR", Align::Left),
        ("MS", Align::Right),
        ("SHARE", Align::Right),
    ]);
    for step in slowest.into_iter().take(SLOWEST) {
        let cells = [step.node.clone(), step.op.clone(), format!("{:.3}", step.ms), share(step.ms)];
        table.row(Style::new(), cells);
    }
    writeln!(console.out())?;
    table.print(console)
}

/// Milliseconds to the microsecond.
pub fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
