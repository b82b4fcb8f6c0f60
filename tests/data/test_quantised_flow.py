import numpy as np

from asd_experiments.data.quantised_flow import FLOW_STEP_PX, quantise_flow, restore_flow


def test_flow_is_kept_to_half_a_step_up_to_512_px():
    flow = np.random.default_rng(0).uniform(-511.9, 511.9, (50, 50, 2)).astype(np.float32)
    flow[0, 0] = -512, 511.98
    assert np.abs(restore_flow(quantise_flow(flow)) - flow).max() <= FLOW_STEP_PX / 2


def test_faster_flow_is_cut_off():
    flow = np.array([[-513, 512], [-1e9, 1e9]], np.float32)
    assert restore_flow(quantise_flow(flow)).tolist() == [[-512, 511.984375]] * 2


def test_steps_come_back_as_they_are():
    steps = np.arange(-(2**15), 2**15).astype(np.int16)
    assert np.array_equal(quantise_flow(restore_flow(steps)), steps)
