//! ONNX's text syntax: the one notation of rules, fixtures, snapshots and `show`.
