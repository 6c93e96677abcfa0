//! λ schedules: their values, their ends, and that a stop changes nothing.

use bitonnx::variants::schedule::{Schedule, Shape};
use proptest::prelude::*;
use std::{path::Path, process::Command};

/// Shape, step, warmup steps, min, max, and the λ that Python's `math` gives by the formulas.
#[rustfmt::skip]
const VALUES: &[(Shape, u64, u64, f64, f64, f64)] = &[
    (Shape::Linear, 1, 10, 0.0, 1.0, 0.1),
    (Shape::Linear, 3, 10, 0.0, 1.0, 0.3),
    (Shape::Linear, 5, 10, 0.25, 0.75, 0.5),
    (Shape::Linear, 9, 10, 0.1, 0.9, 0.8200000000000001),
    (Shape::Linear, 123, 1000, 0.0, 1.0, 0.123),
    (Shape::Linear, 999, 1000, 0.0, 0.7, 0.6992999999999999),
    (Shape::Cosine, 1, 10, 0.0, 1.0, 0.024471741852423234),
    (Shape::Cosine, 3, 10, 0.0, 1.0, 0.20610737385376343),
    (Shape::Cosine, 5, 10, 0.25, 0.75, 0.5),
    (Shape::Cosine, 9, 10, 0.1, 0.9, 0.8804226065180615),
    (Shape::Cosine, 123, 1000, 0.0, 1.0, 0.036867124490466696),
    (Shape::Cosine, 999, 1000, 0.0, 0.7, 0.6999982728206504),
    (Shape::Exponential, 1, 10, 0.0, 1.0, 0.39613850050808724),
    (Shape::Exponential, 3, 10, 0.0, 1.0, 0.7821398567522391),
    (Shape::Exponential, 5, 10, 0.25, 0.75, 0.7120709099893783),
    (Shape::Exponential, 9, 10, 0.1, 0.9, 0.896479439015353),
    (Shape::Exponential, 123, 1000, 0.0, 1.0, 0.4624752383349739),
    (Shape::Exponential, 999, 1000, 0.0, 0.7, 0.6999761977517953),
    (Shape::Sigmoid, 1, 10, 0.0, 1.0, 0.011446579538697647),
    (Shape::Sigmoid, 3, 10, 0.0, 1.0, 0.11403653008945558),
    (Shape::Sigmoid, 5, 10, 0.25, 0.75, 0.5),
    (Shape::Sigmoid, 9, 10, 0.1, 0.9, 0.8908427363690418),
    (Shape::Sigmoid, 123, 1000, 0.0, 1.0, 0.016054691850544502),
    (Shape::Sigmoid, 999, 1000, 0.0, 0.7, 0.6999525987910498),
];

fn at(shape: Shape, step: u64, warmup_steps: u64, min: f64, max: f64) -> Schedule {
    let mut schedule = Schedule::new(shape, warmup_steps, min, max).unwrap();
    (0..step).for_each(|_| schedule.advance());
    assert_eq!(schedule.step(), step);
    schedule
}

#[test]
fn values_are_those_of_the_formulas() {
    for &(shape, step, warmup_steps, min, max, expected) in VALUES {
        let value = at(shape, step, warmup_steps, min, max).value();
        // C libraries differ in the last bit of `cos` and `exp`.
        let error = (value - expected).abs();
        assert!(error <= 4.0 * f64::EPSILON, "{shape:?} {step}/{warmup_steps}: {value} {expected}");
    }
}

#[test]
fn the_ends_are_exact_and_the_way_only_rises() {
    for shape in Shape::ALL {
        for (min, max) in [(0.0, 1.0), (0.1, 0.7), (1.0 / 3.0, 0.9), (0.3, 0.3)] {
            for warmup_steps in [1, 2, 3, 7, 1000] {
                let mut schedule = Schedule::new(shape, warmup_steps, min, max).unwrap();
                assert_eq!(schedule.value().to_bits(), min.to_bits());
                let mut last = min;
                for _ in 0..warmup_steps {
                    schedule.advance();
                    assert!(schedule.value() >= last, "{shape:?} falls at {}", schedule.step());
                    last = schedule.value();
                    assert!(last <= max, "{shape:?} passes max at {}", schedule.step());
                }
                for _ in 0..5 {
                    assert_eq!(schedule.value().to_bits(), max.to_bits());
                    schedule.advance();
                }
            }
        }
    }
}

#[test]
fn shapes_differ() {
    let quarter = Shape::ALL.map(|shape| at(shape, 1, 4, 0.0, 1.0).value());
    let [linear, cosine, exponential, sigmoid] = quarter;
    assert!(exponential > linear && linear > cosine && cosine > sigmoid, "{quarter:?}");
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let ends = (0.0..=1.0f64, 0.0..=1.0f64).prop_map(|(a, b)| (a.min(b), a.max(b)));
    (0..Shape::ALL.len(), 1..300u64, ends).prop_map(|(shape, warmup_steps, (min, max))| {
        Schedule::new(Shape::ALL[shape], warmup_steps, min, max).unwrap()
    })
}

proptest! {
    #[test]
    fn a_resumed_run_gives_the_same_bits(mut schedule in schedules(), stop in 0..320) {
        (0..stop).for_each(|_| schedule.advance());
        let mut resumed = Schedule::from_json(&schedule.to_json()).unwrap();
        let mut embedded: Schedule =
            serde_json::from_value(serde_json::to_value(schedule).unwrap()).unwrap();
        prop_assert_eq!(schedule, resumed);
        for _ in stop..330 {
            let bits = schedule.value().to_bits();
            prop_assert_eq!(bits, resumed.value().to_bits());
            prop_assert_eq!(bits, embedded.value().to_bits());
            schedule.advance();
            resumed.advance();
            embedded.advance();
        }
    }
}

#[test]
fn the_state_is_one_line_of_json() {
    let schedule = at(Shape::Sigmoid, 3, 10, 0.25, 1.0);
    let text = r#"{"schedule": "sigmoid", "step": 3, "warmup_steps": 10, "min": 0.25, "max": 1.0}"#;
    assert_eq!(schedule.to_json(), text);
    let by_serde = serde_json::to_string(&schedule).unwrap();
    assert_eq!(by_serde, text.replace(": ", ":").replace(", ", ","));
    // What no step can reach by itself is kept as well.
    let late = text.replace("\"step\": 3", &format!("\"step\": {}", u64::MAX));
    let mut late = Schedule::from_json(&late).unwrap();
    late.advance();
    assert_eq!((late.step(), late.value()), (u64::MAX, 1.0));
}

#[test]
fn an_invalid_state_is_refused_with_the_reason() {
    let good = r#"{"schedule": "linear", "step": 0, "warmup_steps": 9, "min": 0.1, "max": 0.9}"#;
    Schedule::from_json(good).unwrap();
    for (part, by, why) in [
        ("0.1", "NaN", "expected value"),
        ("0.1", "Infinity", "expected value"),
        ("0.1", "-0.1", "min is -0.1, not a number from 0 to 1"),
        ("0.9", "1.5", "max is 1.5, not a number from 0 to 1"),
        ("0.9", "1e999", "number out of range"),
        ("0.9", "0.05", "min is 0.1, above max, 0.05"),
        ("0.9", "\"1\"", "expected f64"),
        (": 9", ": 0", "warmup_steps is 0"),
        (": 9", ": 9007199254740993", "more than 2^53"),
        ("\"step\": 0", "\"step\": -1", "expected u64"),
        ("\"step\": 0, ", "", "missing field `step`"),
        (", \"max\": 0.9", "", "missing field `max`"),
        ("\"min\"", "\"lr\": 0, \"min\"", "unknown field `lr`"),
        ("\"min\"", "\"min\": 0, \"min\"", "duplicate field `min`"),
        ("linear", "Linear", "unknown variant `Linear`"),
        ("}", "} {", "trailing characters"),
    ] {
        assert!(good.contains(part));
        let error = Schedule::from_json(&good.replace(part, by)).unwrap_err();
        assert!(error.why().contains(why), "no {why:?} in {error}");
        assert!(error.hint().contains("sigmoid"), "{error}");
    }
    for (steps, min, max) in [(0, 0.0, 1.0), (9, f64::NAN, 1.0), (9, 0.0, f64::NAN), (9, 0.6, 0.5)]
    {
        Schedule::new(Shape::Cosine, steps, min, max).unwrap_err();
    }
}

/// `examples/qat/schedule.py` reads our JSON and gives our values, where there is a Python.
#[test]
fn python_gives_the_same_values() {
    let script = "import json, sys\nfrom schedule import Schedule\n\
        for line in sys.argv[1:]:\n    s = Schedule(**json.loads(line))\n\
        \x20   for _ in range(30):\n        print(s.value().hex()); s = Schedule(**json.loads(s.to_json())); s.advance()";
    let mut ours = Vec::new();
    let mut python = Command::new("python3");
    python.args(["-B", "-c", script]);
    python.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/qat"));
    for shape in Shape::ALL {
        for (min, max) in [(0.0, 1.0), (0.1, 0.7)] {
            let mut schedule = at(shape, 1, 23, min, max);
            python.arg(schedule.to_json());
            for _ in 0..30 {
                ours.push(schedule.value());
                schedule.advance();
            }
        }
    }
    let Ok(output) = python.output() else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs = String::from_utf8(output.stdout).unwrap();
    assert_eq!(theirs.lines().count(), ours.len());
    for (line, ours) in theirs.lines().zip(ours) {
        assert_eq!(line, hex(ours));
    }
}

/// Python's `float.hex` of a number from 0 to 1.
fn hex(value: f64) -> String {
    if value == 0.0 {
        return "0x0.0p+0".into();
    }
    let bits = value.to_bits();
    format!("0x1.{:013x}p{:+}", bits & ((1 << 52) - 1), (bits >> 52) as i32 - 1023)
}
