//! Ternarisation against its formula, written out in f64.
#![allow(clippy::single_range_in_vec_init, reason = "groups are lists of ranges")]

use bitonnx::quant::{Error, Layout, Matrix, Storage, Ternary, ternarize};
use half::{bf16, f16};
use proptest::prelude::*;
use std::ops::Range;

const STORAGES: [Storage; 3] = [Storage::F32, Storage::F16, Storage::Bf16];

/// Numbers as a file stores them, and what they are as f32 once rounded to that type.
fn stored(numbers: &[f32], storage: Storage) -> (Vec<u8>, Vec<f32>) {
    let half = |x: f32| f16::from_f32(x);
    let brain = |x: f32| bf16::from_f32(x);
    match storage {
        Storage::F32 => (numbers.iter().flat_map(|x| x.to_le_bytes()).collect(), numbers.to_vec()),
        Storage::F16 => (
            numbers.iter().flat_map(|x| half(*x).to_le_bytes()).collect(),
            numbers.iter().map(|x| half(*x).to_f32()).collect(),
        ),
        Storage::Bf16 => (
            numbers.iter().flat_map(|x| brain(*x).to_le_bytes()).collect(),
            numbers.iter().map(|x| brain(*x).to_f32()).collect(),
        ),
    }
}

fn transposed(numbers: &[f32], n: usize, k: usize) -> Vec<f32> {
    (0..n * k).map(|i| numbers[i % n * k + i / n]).collect()
}

/// Ternarises `[n, k]` in both layouts from unaligned bytes, and holds them equal.
fn both_layouts(
    numbers: &[f32],
    (n, k): (usize, usize),
    storage: Storage,
    groups: &[Range<usize>],
) -> Result<Ternary, Error> {
    let run = |numbers: &[f32], layout| {
        let bytes = [vec![0xff], stored(numbers, storage).0].concat();
        ternarize(&Matrix::new(&bytes[1..], storage, layout, n, k)?, groups)
    };
    let straight = run(numbers, Layout::OutIn);
    match (&straight, &run(&transposed(numbers, n, k), Layout::InOut)) {
        (Ok(a), Ok(b)) => assert_eq!(a, b),
        (a, b) => assert_eq!(format!("{a:?}"), format!("{b:?}")),
    }
    straight
}

/// Numbers that look like weights: a cheap bell curve.
fn weights(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count).map(|_| (uniform() + uniform() + uniform()) * 0.05).collect()
}

/// Holds a result to the formula: scales to within an ulp of the f64 mean, codes exactly.
fn check_absmean(found: &Ternary, numbers: &[f32], groups: &[Range<usize>]) {
    let k = found.codes.k();
    let t = found.codes.ternary().unwrap();
    let scale_of = |row: usize| found.scale.row(row);
    for group in groups {
        let values = &numbers[group.start * k..group.end * k];
        let mean = values.iter().map(|w| f64::from(*w).abs()).sum::<f64>() / values.len() as f64;
        let scale = (mean as f32).max(1e-5);
        for row in group.clone() {
            assert!((scale_of(row) - scale).abs() <= scale * f32::EPSILON, "scale of row {row}");
            for column in 0..k {
                let w = numbers[row * k + column];
                let expected = (w * (1.0 / scale_of(row))).round_ties_even().clamp(-1.0, 1.0);
                assert_eq!(f32::from(t[row * k + column]), expected, "row {row}, column {column}");
            }
        }
    }
    assert_eq!(found.zeros, t.iter().filter(|t| **t == 0).count() as u64);
}

#[test]
fn absmean_is_the_formula_on_awkward_shapes() {
    for (n, k) in [(1, 5), (3, 2), (5, 7), (63, 33), (64, 512), (65, 513), (130, 1030), (200, 31)] {
        for storage in STORAGES {
            let numbers = weights(n * k, (n * k) as u64);
            let exact = stored(&numbers, storage).1;
            let groupings =
                [vec![0..n], (0..n).map(|row| row..row + 1).collect(), vec![0..1, 1..n]];
            for groups in groupings.iter().filter(|groups| groups.iter().all(|g| !g.is_empty())) {
                let found = both_layouts(&numbers, (n, k), storage, groups).unwrap();
                assert!(!found.exact, "{n} x {k}, {storage:?}");
                check_absmean(&found, &exact, groups);
            }
        }
    }
}

#[test]
fn halves_round_to_zero_and_beyond_to_one() {
    // The mean magnitude is 1: the numbers are multiples of the scale.
    let numbers = [0.5, -0.5, 0.500_000_06, -0.500_000_06, 1.5, -2.5, 1.0, 0.999_999_9];
    let found = both_layouts(&numbers, (1, 8), Storage::F32, &[0..1]).unwrap();
    assert_eq!(found.scale.values(), [1.0]);
    assert_eq!(found.codes.ternary().unwrap(), [0, 0, 1, -1, 1, -1, 1, 1]);
    assert_eq!(found.zeros, 2);
}

#[test]
fn equal_scales_are_stored_once() {
    let row = weights(40, 9);
    let numbers = [row.clone(), row.iter().rev().map(|w| -w).collect()].concat();
    let found = both_layouts(&numbers, (2, 40), Storage::F32, &[0..1, 1..2]).unwrap();
    // The two sums differ in order, so that this holds only where rounding to f32 hides it.
    assert!(found.scale.values().len() == 1 || found.scale.row(0) != found.scale.row(1));
    let found = both_layouts(&[row.clone(), row].concat(), (2, 40), Storage::F32, &[0..1, 1..2]);
    assert_eq!(found.unwrap().scale.values().len(), 1);
}

/// `scale · t`, with one value moved by some units in the last place.
fn ternary(t: &[i8], scale: impl Fn(usize) -> f32, moved: (usize, i32)) -> Vec<f32> {
    let mut numbers: Vec<_> = t.iter().enumerate().map(|(i, t)| f32::from(*t) * scale(i)).collect();
    let (at, ulps) = moved;
    numbers[at] = f32::from_bits(numbers[at].to_bits().wrapping_add_signed(ulps));
    numbers
}

fn trits(count: usize) -> Vec<i8> {
    (0..count).map(|i| ((i * i + i / 7) % 3) as i8 - 1).collect()
}

#[test]
fn ternary_weights_are_kept() {
    let (n, k) = (70, 600);
    let t = trits(n * k);
    let nonzero = t.iter().position(|t| *t != 0).unwrap();
    for storage in STORAGES {
        for ulps in [0, 8, -8] {
            let ulps = if storage == Storage::F32 { ulps } else { 0 };
            let numbers = ternary(&t, |_| 0.037_109_375, (nonzero, ulps));
            let found = both_layouts(&numbers, (n, k), storage, &[0..30, 30..n]).unwrap();
            assert!(found.exact);
            assert_eq!(
                found.scale.values(),
                [0.037_109_375],
                "the most frequent magnitude, {storage:?}"
            );
            assert_eq!(found.codes.ternary().unwrap(), t);
        }
    }
}

#[test]
fn ternary_rows_keep_a_scale_each() {
    let (n, k) = (5, 90);
    let t = trits(n * k);
    let numbers = ternary(&t, |i| 0.01 * (1 + i / k) as f32, (0, 0));
    for groups in [vec![0..n], (0..n).map(|row| row..row + 1).collect(), vec![0..2, 2..n]] {
        let found = both_layouts(&numbers, (n, k), Storage::F32, &groups).unwrap();
        assert!(found.exact);
        assert_eq!(found.scale.values(), [1.0f32, 2.0, 3.0, 4.0, 5.0].map(|row| 0.01 * row));
        assert_eq!(found.codes.ternary().unwrap(), t);
    }
}

#[test]
fn one_weight_too_far_makes_a_weight_ordinary() {
    let (n, k) = (70, 600);
    let t = trits(n * k);
    let last = t.iter().rposition(|t| *t != 0).unwrap();
    for ulps in [9, -9] {
        let numbers = ternary(&t, |_| 0.037_109_375, (last, ulps));
        let found = both_layouts(&numbers, (n, k), Storage::F32, &[0..n]).unwrap();
        assert!(!found.exact);
        check_absmean(&found, &numbers, &[0..n]);
    }
}

#[test]
fn a_weight_without_zeros_can_be_ternary() {
    let numbers: Vec<_> = (0..300).map(|i| if i % 3 == 0 { -0.25 } else { 0.25 }).collect();
    let found = both_layouts(&numbers, (3, 100), Storage::F32, &[0..3]).unwrap();
    assert!(found.exact);
    assert_eq!((found.scale.values(), found.zeros), (&[0.25][..], 0));
}

#[test]
fn zeros_have_the_least_scale() {
    let found = both_layouts(&[-0.0; 35], (5, 7), Storage::F32, &[0..5]).unwrap();
    assert_eq!((found.scale.values(), found.zeros), ([1e-5].as_slice(), 35));
    assert_eq!(found.codes.bytes(), [0b01_01_01_01; 10]);

    // A row of zeros takes the scale of its group.
    let numbers = [[0.0; 4], [0.5, 0.0, -0.5, 0.5]].concat();
    let found = both_layouts(&numbers, (2, 4), Storage::F32, &[0..2]).unwrap();
    assert_eq!((found.scale.values(), found.exact), ([0.5].as_slice(), true));
    let found = both_layouts(&numbers, (2, 4), Storage::F32, &[0..1, 1..2]).unwrap();
    assert_eq!(found.scale.values(), [1e-5, 0.5]);
}

#[test]
fn tiny_weights_have_the_least_scale() {
    let numbers = weights(64, 3).iter().map(|w| w * 1e-6).collect::<Vec<_>>();
    let found = both_layouts(&numbers, (2, 32), Storage::F32, &[0..2]).unwrap();
    assert_eq!(found.scale.values(), [1e-5]);
    check_absmean(&found, &numbers, &[0..2]);
}

#[test]
fn what_is_not_finite_is_refused_with_its_place() {
    let (n, k) = (130, 700);
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for storage in STORAGES {
            // In an ordinary weight, and as the one thing wrong with a ternary one.
            for mut numbers in [weights(n * k, 1), ternary(&trits(n * k), |_| 0.5, (0, 0))] {
                numbers[129 * k + 1] = value;
                numbers[67 * k + 650] = value;
                let found = both_layouts(&numbers, (n, k), storage, &[0..n]).unwrap_err();
                let Error::NotFinite { row: 67, column: 650, value: named } = found else {
                    panic!("{found}");
                };
                assert!(named.to_bits() == value.to_bits() || named.is_nan() && value.is_nan());
            }
        }
    }
}

#[test]
fn only_values_of_one_magnitude_that_are_infinite_are_refused() {
    let found = both_layouts(&[f32::INFINITY; 8], (2, 4), Storage::F32, &[0..2]).unwrap_err();
    assert!(matches!(found, Error::NotFinite { row: 0, column: 0, .. }));
}

#[test]
fn the_result_does_not_depend_on_threads() {
    let (n, k) = (300, 777);
    let bytes = stored(&weights(n * k, 5), Storage::F32).0;
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let weight = Matrix::new(&bytes, Storage::F32, Layout::OutIn, n, k).unwrap();
        pool.install(|| ternarize(&weight, &[0..100, 100..n]).unwrap())
    };
    assert_eq!(run(1), run(7));
}

#[test]
fn wrong_shapes_are_refused() {
    for (n, k) in [(3, 4), (usize::MAX, 2), (0, 1)] {
        let found = Matrix::new(&[0; 40], Storage::F32, Layout::OutIn, n, k);
        assert!(matches!(found, Err(Error::Length { found: 40, .. })), "{n} x {k}");
    }
    let weight = Matrix::new(&[0; 40], Storage::F32, Layout::OutIn, 2, 5).unwrap();
    for groups in [vec![], vec![0..1], vec![0..1, 0..2], vec![1..2], vec![0..3], vec![0..0, 0..2]] {
        assert_eq!(ternarize(&weight, &groups), Err(Error::Groups), "{groups:?}");
    }
}

proptest! {
    #[test]
    fn any_finite_weight_is_ternarised_by_the_formula(
        (n, k) in (1usize..70, 2usize..40),
        storage in prop::sample::select(&STORAGES[..]),
        exponents in prop::collection::vec(-20i32..5, 1..30),
        seed: u64,
    ) {
        let spread = |(i, w): (usize, &f32)| w * (exponents[i % exponents.len()] as f32).exp2();
        let numbers: Vec<_> = weights(n * k, seed).iter().enumerate().map(spread).collect();
        let found = both_layouts(&numbers, (n, k), storage, &[0..n]).unwrap();
        if !found.exact {
            check_absmean(&found, &stored(&numbers, storage).1, &[0..n]);
        }
    }
}
