"""The recurrence of one group, in the engine that runs anywhere."""

import pytest
import torch
from helpers import assert_equal, random_group, run_engine, run_plain

from speechbrain_cwrnn.sweep import eager


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("R, N", [(1, 9), (4, 9), (2, 1)])
def test_equals_plain_loop(nonlinearity, R, N):
    """States and gradients, with and without replicas."""
    args = random_group(R, N=N)
    dh = torch.randn_like(args[0])
    assert_equal(
        run_engine(eager, *args, nonlinearity, dh),
        run_plain(*args, nonlinearity, dh),
    )


def test_first_gradient():
    """What is known of that of the initial state is added to."""
    z, weight, h0 = random_group()
    state = torch.cat([h0.unsqueeze(2), z], dim=2)
    dstate = torch.randn_like(state)
    expected = dstate.clone()
    expected[:, :, 0] = 0
    eager.backward(expected, state, weight, "tanh")
    expected[:, :, 0] += dstate[:, :, 0]
    eager.backward(dstate, state, weight, "tanh")
    assert_equal({"dstate": dstate}, {"dstate": expected})


def test_no_ticks():
    """A group that does not tick is left as it is."""
    state = torch.randn(3, 2, 1, 4)
    dstate, weight = torch.randn_like(state), torch.randn(3, 4, 4)
    before = state.clone(), dstate.clone()
    eager.forward(state, weight, "tanh")
    eager.backward(dstate, state, weight, "tanh")
    assert torch.equal(state, before[0])
    assert torch.equal(dstate, before[1])
