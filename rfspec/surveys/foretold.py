"""What the words of a verdict stand for, as docs/real_data.md measures it."""

from __future__ import annotations

# what follows for early losses, best time and late losses: of the limit, of degrees that are
# followed at finite d, and of data for which neither is made
FORETOLD = {
    "right, limit": ("right", "right to a factor of 1.5", "right to about 5 %"),
    "roughly right, limit": (
        "right",
        "0.7 to 6 times the predicted one in the cases measured",
        "right to about 10 %",
    ),
    "off, limit": (
        "right",
        "as a rule later, 0.9 to 12 times the predicted one in the cases measured, so that "
        "stopping at the predicted one is on the safe side",
        "too high, test losses by up to 60 % in the cases measured",
    ),
    "right, followed": (
        "right to a few per cent",
        "0.6 to 1.1 times the predicted one in the cases measured",
        "right to about 8 %",
    ),
    "roughly right, followed": (
        "right to a few per cent",
        "0.6 to 6 times the predicted one in the cases measured",
        "right to about 10 %",
    ),
    "off, followed": (
        "right to a few per cent",
        "later, 1.6 to 11 times the predicted one in the cases measured, so that stopping at the "
        "predicted one is on the safe side",
        "what is learnt of these degrees is not Gaussian: test losses too high by up to 30 % in "
        "the cases measured",
    ),
    "narrow": (
        "right to a few per cent",
        "not to be relied on, 0.6 to 0.9 times the predicted one in the case measured",
        "not to be relied on: so few samples of so few dimensions are too few even for the theory "
        "at finite d",
    ),
    "heavy": (
        "off where the activation saturates, by up to a fifth for tanh and erf in the cases "
        "measured; right for relu",
        "earlier, 0.5 to 0.8 times the predicted one in the cases measured",
        "test losses off by up to 30 %, too low or too high; rf.Elliptical takes the norms as they "
        "are (docs/real_data.md)",
    ),
}
