//! Ternary weights: arrays only, no ONNX.
