//! Products, norms and ternarisation. Products count 2·m·n·k operations, f32 in to f32 out.

use bitonnx::{
    kernels::{Activations, Kernel, Norm, Product, Weights},
    quant::{Layout, Matrix, Storage, ternarize},
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::{hint::black_box, time::Duration};

/// (n, k): projections of a 135M, a 1B and a 2B decoder.
const SHAPES: [(usize, usize); 3] = [(576, 576), (2048, 2048), (6912, 2560)];

/// Weights that are gone through in turn, so that decoding streams them as a model would.
const LAYERS: usize = 8;

fn products(c: &mut Criterion) {
    for kernel in Kernel::available().iter().filter(|kernel| kernel.name() != "scalar") {
        let mut group = c.benchmark_group(kernel.name());
        for (n, k) in SHAPES {
            let codes: Vec<u8> =
                (0..n * k / 4).map(|i| [0x16, 0x98, 0x51, 0x25][i * i % 4]).collect();
            let layers: Vec<_> =
                (0..LAYERS).map(|_| Weights::pack(&codes, n, k).expect("valid codes")).collect();
            for m in [1, 2, 4, 8, 32, 128] {
                let x: Vec<f32> = (0..m * k).map(|i| (i as f32 * 0.37).sin()).collect();
                let mut y = vec![0.0; m * n];
                let mut activations = Activations::new();
                let mut layers = layers.iter().cycle();
                group.throughput(Throughput::Elements(2 * (m * n * k) as u64));
                group.bench_function(BenchmarkId::new(format!("{n}x{k}"), m), |b| {
                    b.iter(|| {
                        activations
                            .quantize(*kernel, black_box(&x), k, None, 1e-5)
                            .expect("whole rows");
                        let weights = layers.next().expect("endless");
                        let product = Product::new(*kernel, &activations, weights, &[0.1], None);
                        product
                            .expect("shapes agree")
                            .run(black_box(&mut y))
                            .expect("shapes agree");
                    })
                });
            }
        }
    }
}

/// SubLN in one pass with the quantisation, beside the same in a pass of its own that writes its rows out.
fn norms(c: &mut Criterion) {
    let (k, kernel) = (2560, Kernel::best());
    let gain = vec![1.5; k];
    let mut group = c.benchmark_group("norm");
    for m in [1, 32, 512] {
        let x: Vec<f32> = (0..m * k).map(|i| (i as f32 * 0.37).sin()).collect();
        let mut activations = Activations::new();
        group.throughput(Throughput::Elements((m * k) as u64));
        group.bench_function(BenchmarkId::new("fused", m), |b| {
            let norm = Some(Norm { eps: 1e-6, gain: &gain });
            b.iter(|| activations.quantize(kernel, black_box(&x), k, norm, 1e-5))
        });
        group.bench_function(BenchmarkId::new("apart", m), |b| {
            b.iter(|| {
                let mut rows = vec![0.0; m * k];
                for (x, y) in black_box(&x).chunks(k).zip(rows.chunks_mut(k)) {
                    normalize(x, &gain, y);
                }
                activations.quantize(kernel, &rows, k, None, 1e-5)
            })
        });
    }
}

/// `x · 1/sqrt(mean(x²) + eps) · gain`, as a loop that vectorises.
fn normalize(x: &[f32], gain: &[f32], y: &mut [f32]) {
    let mut lanes = [0.0f32; 16];
    for x in x.chunks(16) {
        lanes.iter_mut().zip(x).for_each(|(sum, x)| *sum += x * x);
    }
    let factor = 1.0 / (lanes.iter().sum::<f32>() / x.len() as f32 + 1e-6).sqrt();
    y.iter_mut().zip(x.iter().zip(gain)).for_each(|(y, (x, gain))| *y = x * factor * gain);
}

fn ternarization(c: &mut Criterion) {
    let (n, k) = (4096, 4096);
    let ordinary: Vec<f32> = (0..n * k).map(|i| (i as f32 * 0.37).sin()).collect();
    let ternary: Vec<f32> = (0..n * k).map(|i| (i % 3) as f32 - 1.0).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let mut group = c.benchmark_group("ternarize");
    for (name, weights) in [("ordinary", &ordinary), ("exact", &ternary)] {
        let float: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
        let half = weights.iter().flat_map(|w| half::f16::from_f32(*w).to_le_bytes()).collect();
        let brain = weights.iter().flat_map(|w| half::bf16::from_f32(*w).to_le_bytes()).collect();
        for (storage, bytes) in
            [(Storage::F32, float), (Storage::F16, half), (Storage::Bf16, brain)]
        {
            for layout in [Layout::OutIn, Layout::InOut] {
                let weight = Matrix::new(&bytes, storage, layout, n, k).expect("the size fits");
                group.throughput(Throughput::Bytes(bytes.len() as u64));
                group.bench_function(format!("{name}/{storage:?}/{layout:?}"), |b| {
                    b.iter(|| pool.install(|| ternarize(&weight, std::slice::from_ref(&(0..n)))))
                });
            }
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = products, norms, ternarization
}
criterion_main!(benches);
