//! λ over the steps of training: from full precision to quantised.
//!
//! With `p = step / warmup_steps`, each shape is an `f(p)` with `f(0) = 0` and `f(1) = 1`:
//!
//! | shape | f(p) | source |
//! |---|---|---|
//! | `linear` | `p` | Hugging Face, "Fine-tuning LLMs to 1.58bit", 2024 |
//! | `cosine` | `(1 − cos(π·p)) / 2` | Loshchilov & Hutter, arXiv:1608.03983, rising |
//! | `exponential` | `(1 − e^(−5p)) / (1 − e^(−5))` | saturating growth of rate 5, over its value at 1 |
//! | `sigmoid` | `(σ(10·(p − 1/2)) − σ(−5)) / (σ(5) − σ(−5))`, `σ(z) = 1 / (1 + e^(−z))` | the logistic function's middle, stretched to both ends |
//!
//! λ is exactly `min` at step 0 and exactly `max` from step `warmup_steps` on; between them it is
//! `min + (max − min)·f(p)`, kept within both. All of it is f64, in the order written here, `cos` and
//! `exp` being the C library's: `examples/qat/schedule.py` does the same and gets the same numbers.

use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// How λ rises between its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Shape {
    /// By the same amount at each step.
    #[default]
    Linear,
    /// Slowly at both ends.
    Cosine,
    /// Fast at first: half of the way after 14 % of the steps.
    Exponential,
    /// More slowly at both ends than a cosine, and faster between.
    Sigmoid,
}

impl Shape {
    /// Every shape.
    pub const ALL: [Shape; 4] = [Shape::Linear, Shape::Cosine, Shape::Exponential, Shape::Sigmoid];

    /// The share of the way, for a `p` from 0 to 1.
    fn at(self, p: f64) -> f64 {
        match self {
            Shape::Linear => p,
            Shape::Cosine => (1.0 - (PI * p).cos()) / 2.0,
            Shape::Exponential => (1.0 - (-5.0 * p).exp()) / (1.0 - (-5.0f64).exp()),
            Shape::Sigmoid => {
                (logistic(10.0 * (p - 0.5)) - logistic(-5.0)) / (logistic(5.0) - logistic(-5.0))
            }
        }
    }
}

fn logistic(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// Where training is, and what λ is there.
///
/// As JSON it is all of its state, `{"schedule": "cosine", "step": 0, "warmup_steps": 1000, "min": 0.0,
/// "max": 1.0}`: what is read back continues with the very values that would have come.
///
/// ```
/// use bitonnx::variants::schedule::{Schedule, Shape};
/// # fn main() -> bitonnx::Result<()> {
/// let mut schedule = Schedule::new(Shape::Linear, 4, 0.0, 1.0)?;
/// schedule.advance();
/// let mut resumed = Schedule::from_json(&schedule.to_json())?;
/// assert_eq!(resumed.value(), 0.25);
/// resumed.advance();
/// assert_eq!(resumed.value(), 0.5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "State", into = "State")]
pub struct Schedule(State);

/// The JSON form.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    schedule: Shape,
    step: u64,
    warmup_steps: u64,
    min: f64,
    max: f64,
}

impl Schedule {
    /// The schedule at step 0: λ is `min` there, and `max` after `warmup_steps` steps.
    ///
    /// An error where `warmup_steps` is 0 or above 2^53 (which f64 can't count), or where it does not
    /// hold that `0 ≤ min ≤ max ≤ 1`.
    pub fn new(shape: Shape, warmup_steps: u64, min: f64, max: f64) -> Result<Self> {
        let state = State { schedule: shape, step: 0, warmup_steps, min, max };
        Schedule::try_from(state).map_err(invalid)
    }

    /// Reads what [`Schedule::to_json`] wrote.
    ///
    /// An error where the text is no JSON, lacks a field or has one more, or where [`Schedule::new`]
    /// would refuse its values.
    pub fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|e| invalid(e.to_string()))
    }

    /// The whole state, in one line of JSON. Numbers are written such that they read back to the bit.
    pub fn to_json(&self) -> String {
        let State { schedule, step, warmup_steps, min, max } = self.0;
        let schedule = serde_json::json!(schedule);
        // Written by hand for the order of its fields, and since nothing here can fail.
        format!(
            r#"{{"schedule": {schedule}, "step": {step}, "warmup_steps": {warmup_steps}, "min": {min:?}, "max": {max:?}}}"#
        )
    }

    /// λ at the present step.
    pub fn value(&self) -> f64 {
        let State { schedule, step, warmup_steps, min, max } = self.0;
        if step == 0 {
            min
        } else if step >= warmup_steps {
            max
        } else {
            let p = step as f64 / warmup_steps as f64;
            (min + (max - min) * schedule.at(p)).clamp(min, max)
        }
    }

    /// Goes on by one step.
    pub fn advance(&mut self) {
        self.0.step = self.0.step.saturating_add(1);
    }

    /// The steps gone so far.
    pub fn step(&self) -> u64 {
        self.0.step
    }
}

/// The largest number of steps up to which f64 has every whole number.
const MOST_STEPS: u64 = 1 << f64::MANTISSA_DIGITS;

impl TryFrom<State> for Schedule {
    type Error = String;

    fn try_from(state: State) -> Result<Self, String> {
        let State { warmup_steps, min, max, .. } = state;
        if warmup_steps == 0 {
            return Err("warmup_steps is 0".into());
        }
        if warmup_steps > MOST_STEPS {
            return Err(format!("warmup_steps is {warmup_steps}, more than 2^53"));
        }
        for (name, value) in [("min", min), ("max", max)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(format!("{name} is {value}, not a number from 0 to 1"));
            }
        }
        if min > max {
            return Err(format!("min is {min}, above max, {max}"));
        }
        Ok(Schedule(state))
    }
}

impl From<Schedule> for State {
    fn from(schedule: Schedule) -> Self {
        schedule.0
    }
}

fn invalid(why: String) -> Error {
    Error::new(
        ErrorKind::InvalidOption,
        "this is no λ schedule",
        why,
        r#"give it as {"schedule": "linear", "step": 0, "warmup_steps": 1000, "min": 0.0, "max": 1.0}; there are linear, cosine, exponential and sigmoid"#,
    )
}
