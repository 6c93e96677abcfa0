"""The λ schedules of bitonnx::schedule: the same JSON, the same f64 values.

    schedule = Schedule(schedule="cosine", warmup_steps=1000)
    lam = schedule.value(); schedule.advance()
    text = schedule.to_json()                    # stop here ...
    schedule = Schedule(**json.loads(text))      # ... and go on
"""

import json
from math import cos, exp, pi


def sigma(z):
    return 1 / (1 + exp(-z))


SHAPES = {
    "linear": lambda p: p,
    "cosine": lambda p: (1 - cos(pi * p)) / 2,
    "exponential": lambda p: (1 - exp(-5 * p)) / (1 - exp(-5)),
    "sigmoid": lambda p: (sigma(10 * (p - 0.5)) - sigma(-5)) / (sigma(5) - sigma(-5)),
}


class Schedule:
    def __init__(self, schedule="linear", step=0, warmup_steps=1000, min=0.0, max=1.0):
        counts = [n for n in (step, warmup_steps) if type(n) is int and 0 <= n < 2**64]
        if schedule not in SHAPES or len(counts) < 2 or not 0 < warmup_steps <= 2**53 or not 0 <= min <= max <= 1:
            raise ValueError(f"no schedule: {schedule=} {step=} {warmup_steps=} {min=} {max=}")
        self.schedule, self.step, self.warmup_steps, self.min, self.max = schedule, step, warmup_steps, float(min), float(max)

    def value(self):
        if self.step == 0 or self.step >= self.warmup_steps:
            return self.max if self.step else self.min
        value = self.min + (self.max - self.min) * SHAPES[self.schedule](self.step / self.warmup_steps)
        return sorted((self.min, value, self.max))[1]

    def advance(self):
        self.step += 1

    def to_json(self):
        return json.dumps(vars(self))
