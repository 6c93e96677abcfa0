//! Corrections against singular values that are known beforehand, in f64.
#![allow(clippy::single_range_in_vec_init, reason = "groups are lists of ranges")]

use bitonnx::{
    operator::{Codes, Scales},
    quant::{Correction, Error, Layout, Matrix, Storage, Ternary, low_rank, ternarize, untrained},
};

/// Deterministic numbers around zero.
fn numbers(count: usize, mut state: u64) -> Vec<f64> {
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    };
    (0..count).map(|_| next() + next() + next()).collect()
}

/// `x - 2·v·(v·x) / (v·v)`: a reflection, which leaves singular values as they are.
fn reflect(x: &mut [f64], v: &[f64]) {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let factor = 2.0 * dot(x, v) / dot(v, v);
    x.iter_mut().zip(v).for_each(|(x, v)| *x -= factor * v);
}

/// An `[n, k]` matrix with these singular values: a diagonal between reflections.
fn with_values(n: usize, k: usize, values: &[f64]) -> Vec<f32> {
    let mut rows: Vec<Vec<f64>> = vec![vec![0.0; k]; n];
    values.iter().enumerate().for_each(|(i, value)| rows[i][i] = *value);
    for seed in 0..3 {
        let v = numbers(k, seed);
        rows.iter_mut().for_each(|row| reflect(row, &v));
        let v = numbers(n, seed + 10);
        for column in 0..k {
            let mut values: Vec<f64> = rows.iter().map(|row| row[column]).collect();
            reflect(&mut values, &v);
            rows.iter_mut().zip(values).for_each(|(row, value)| row[column] = value);
        }
    }
    rows.into_iter().flatten().map(|x| x as f32).collect()
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// A ternary weight of zeros: what it leaves is the weight itself.
fn nothing(n: usize, k: usize) -> Ternary {
    let (codes, scale) = (Codes::zeros(n, k), Scales::of_rows(vec![1.0; n]));
    Ternary { codes, scale, zeros: (n * k) as u64, exact: false }
}

fn corrected(data: &[f32], (n, k): (usize, usize), ternary: &Ternary, rank: usize) -> Correction {
    let data = bytes(data);
    let weight = Matrix::new(&data, Storage::F32, Layout::OutIn, n, k).unwrap();
    low_rank(&weight, ternary, rank).unwrap()
}

/// `‖W - U·Vᵀ‖ / ‖W‖`, from the factors themselves.
fn left(data: &[f32], (n, k): (usize, usize), correction: &Correction) -> f64 {
    let rank = correction.u.len() / n;
    let (mut all, mut left) = (0.0, 0.0);
    for row in 0..n {
        for column in 0..k {
            let pairs =
                correction.u[row * rank..][..rank].iter().zip(&correction.v[column * rank..]);
            let made: f64 = pairs.map(|(u, v)| f64::from(*u) * f64::from(*v)).sum();
            let weight = f64::from(data[row * k + column]);
            all += weight * weight;
            left += (weight - made).powi(2);
        }
    }
    (left / all).sqrt()
}

#[test]
fn corrections_are_the_best_of_their_rank() {
    let decaying = |i: usize| 0.95f64.powi(i as i32);
    let flat = |i: usize| 1.0 - i as f64 / 1000.0;
    let spectra: [&dyn Fn(usize) -> f64; 2] = [&decaying, &flat];
    // In the whole space, and in a subspace of both sides.
    for shape in [(40, 64), (70, 30), (560, 600), (620, 540)] {
        for spectrum in spectra {
            let least = shape.0.min(shape.1);
            let values: Vec<f64> = (0..least).map(spectrum).collect();
            let data = with_values(shape.0, shape.1, &values);
            for rank in [1, 8, 24] {
                let squares = |values: &[f64]| values.iter().map(|s| s * s).sum::<f64>();
                let best = (squares(&values[rank..]) / squares(&values)).sqrt();
                let correction = corrected(&data, shape, &nothing(shape.0, shape.1), rank);
                let found = left(&data, shape, &correction);
                assert!(found <= best * 1.0001 + 1e-6, "{shape:?}, rank {rank}: {found} of {best}");
                assert!((correction.errors[1] - found).abs() < 1e-4, "{:?}", correction.errors);
                assert!((correction.errors[0] - 1.0).abs() < 1e-6);
            }
        }
    }
}

#[test]
fn what_ternarising_takes_is_what_is_approximated() {
    let (n, k) = (24, 37);
    let data: Vec<f32> = numbers(n * k, 3).into_iter().map(|x| x as f32).collect();
    let stored = bytes(&data);
    let weight = Matrix::new(&stored, Storage::F32, Layout::OutIn, n, k).unwrap();
    let channels: Vec<_> = (0..n).map(|row| row..row + 1).collect();
    for groups in [vec![0..n], channels] {
        let ternary = ternarize(&weight, &groups).unwrap();
        let correction = low_rank(&weight, &ternary, n.min(k)).unwrap();
        let scale = |row: usize| ternary.scale.row(row);
        for row in 0..n {
            for column in 0..k {
                let byte = ternary.codes.bytes()[row * k.div_ceil(4) + column / 4];
                let code = f32::from((byte >> (2 * (column % 4))) & 3) - 1.0;
                let pairs = correction.u[row * n..][..n].iter().zip(&correction.v[column * n..]);
                let made: f32 = pairs.map(|(u, v)| u * v).sum::<f32>() + code * scale(row);
                assert!((made - data[row * k + column]).abs() < 1e-5);
            }
        }
        assert!(
            correction.errors[0] > 0.4 && correction.errors[1] < 1e-3,
            "{:?}",
            correction.errors
        );
    }
}

#[test]
fn both_layouts_and_any_number_of_threads_give_the_same() {
    let (n, k) = (600, 560);
    let data: Vec<f32> = numbers(n * k, 5).into_iter().map(|x| x as f32).collect();
    let turned: Vec<f32> = (0..n * k).map(|i| data[i % n * k + i / n]).collect();
    let (stored, turned) = (bytes(&data), bytes(&turned));
    let run = |threads: usize, data: &[u8], layout: Layout| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let weight = Matrix::new(data, Storage::F32, layout, n, k).unwrap();
            low_rank(&weight, &nothing(n, k), 16).unwrap()
        })
    };
    let first = run(1, &stored, Layout::OutIn);
    let same = |other: Correction| first.u == other.u && first.v == other.v;
    assert!(same(run(1, &stored, Layout::OutIn)));
    assert!(same(run(3, &stored, Layout::OutIn)), "the number of threads matters");
    assert!(same(run(2, &turned, Layout::InOut)), "the layout matters");
    let largest =
        first.u.chunks(16).map(|u| u[0]).fold(0.0f32, |m, x| if x.abs() > m.abs() { x } else { m });
    assert!(largest > 0.0);
}

#[test]
fn large_numbers_do_not_overflow() {
    let shape = (540, 520);
    let mut data = vec![0f32; shape.0 * shape.1];
    (data[7], data[600]) = (3e30, -1e30);
    let correction = corrected(&data, shape, &nothing(shape.0, shape.1), 2);
    assert!((correction.errors[0] - 1.0).abs() < 1e-6 && correction.errors[1] < 1e-3);
    assert!(left(&data, shape, &correction) < 1e-3);
}

#[test]
fn edges() {
    let zero = corrected(&[0.0; 12], (3, 4), &nothing(3, 4), 2);
    assert_eq!((zero.u, zero.v, zero.errors), (vec![0.0; 6], vec![0.0; 8], [0.0, 0.0]));
    let whole = corrected(&[3.0, 0.0, 0.0, 4.0], (2, 2), &nothing(2, 2), 9);
    assert_eq!(whole.u.len(), 4, "cut to the lesser side");
    let data = bytes(&[1.0, f32::NAN]);
    let weight = Matrix::new(&data, Storage::F32, Layout::OutIn, 1, 2).unwrap();
    let error = low_rank(&weight, &nothing(1, 2), 1).unwrap_err();
    assert!(matches!(error, Error::NotFinite { row: 0, column: 1, .. }), "{error}");
}

#[test]
fn an_untrained_correction_does_nothing_yet() {
    let data = bytes(&[1.0; 400]);
    let weight = Matrix::new(&data, Storage::F32, Layout::OutIn, 4, 100).unwrap();
    let make = |name: &str| untrained(&weight, &nothing(4, 100), 3, name).unwrap();
    let one = make("a");
    assert!(one.u.iter().all(|u| *u == 0.0) && one.u.len() == 12 && one.v.len() == 300);
    assert!(one.v.iter().all(|v| v.abs() <= 0.1));
    let mean_square = one.v.iter().map(|v| v * v).sum::<f32>() / 300.0;
    assert!((mean_square - 0.01 / 3.0).abs() < 0.0006, "{mean_square}");
    assert!(one == make("a") && one != make("b"));
}
