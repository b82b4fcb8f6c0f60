import torch

from asd_experiments.models.stem import adapt_stem, can_adapt

RGB = torch.tensor([[1.0, 2.0, 6.0], [0.0, -3.0, 0.0]]).reshape(2, 3, 1, 1, 1)


def test_flow_channels_share_the_sum_over_the_colours():
    """1 + 2 + 6 = 9 and 0 - 3 + 0 = -3, halved."""
    flow = adapt_stem(RGB, 2)
    assert flow.flatten(1).tolist() == [[4.5, 4.5], [-1.5, -1.5]]


def test_colours_are_kept_and_flow_channels_count_as_much_as_one():
    both = adapt_stem(RGB, 5)
    assert torch.equal(both[:, :3], RGB)
    assert both[:, 3:].flatten(1).tolist() == [[3.0, 3.0], [-1.0, -1.0]]


def test_flow_counts_more_where_colours_were_larger():
    assert adapt_stem(RGB, 2, flow_scale=2.0).flatten(1).tolist() == [[9.0, 9.0], [-3.0, -3.0]]
    assert adapt_stem(RGB, 5, flow_scale=2.0)[:, 3:].flatten(1).tolist() == [
        [6.0, 6.0],
        [-2.0, -2.0],
    ]


def test_an_input_alike_in_all_channels_has_the_published_answer():
    weight = torch.randn(8, 3, 3, 7, 7)
    grey = torch.randn(1, 1, 4, 16, 16)
    answers = [
        torch.nn.functional.conv3d(grey.expand(-1, w.shape[1], -1, -1, -1), w)
        for w in (weight, adapt_stem(weight, 2))
    ]
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-4, atol=1e-4)


def test_only_channels_may_differ():
    published = torch.Size([64, 3, 1, 7, 7])
    assert can_adapt(published, torch.Size([64, 2, 1, 7, 7]))
    assert can_adapt(torch.Size([64, 3, 7, 7]), torch.Size([64, 5, 7, 7]))
    assert not can_adapt(published, published)
    assert not can_adapt(published, torch.Size([64, 2, 5, 7, 7]))
    assert not can_adapt(torch.Size([64, 2, 1, 7, 7]), torch.Size([64, 3, 1, 7, 7]))
