"""Algorithms 1 and 2 and the paper's backward equations, spelled out on rows (m, C) in float64, for tests alone."""

from torch import Tensor


def as_rows(x: Tensor) -> Tensor:  # (N, C, ...) -> (m', C) with m' = m * locations
    return x.double().movedim(1, -1).reshape(-1, x.shape[1])


def as_maps(rows: Tensor, like: Tensor) -> Tensor:  # (m', C) -> (N, C, ...)
    channels_last_shape = like.movedim(1, -1).shape
    return rows.reshape(channels_last_shape).movedim(-1, 1)


def batch_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mu_B and the biased var_B, each (C,)."""
    m = x.shape[0]
    mu = x.sum(0) / m
    return mu, ((x - mu) ** 2).sum(0) / m


def transform(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
    """Return y of Algorithm 1."""
    mu, var = batch_moments(x)
    xhat = (x - mu) / (var + eps).sqrt()
    return gamma * xhat + beta


def backward(x: Tensor, gamma: Tensor, eps: float, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (dx, dgamma, dbeta) by the equations that end section 3."""
    m = x.shape[0]
    mu, var = batch_moments(x)
    xhat = (x - mu) / (var + eps).sqrt()
    dxhat = dy * gamma
    dvar = (dxhat * (x - mu)).sum(0) * (-0.5) * (var + eps) ** -1.5
    dmu = -dxhat.sum(0) / (var + eps).sqrt() + dvar * (-2 * (x - mu)).sum(0) / m
    dx = dxhat / (var + eps).sqrt() + dvar * 2 * (x - mu) / m + dmu / m
    return dx, (dy * xhat).sum(0), dy.sum(0)


def inference(x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
    """Return y of Algorithm 2, line 11."""
    scale = gamma / (var + eps).sqrt()
    return scale * x + (beta - scale * mean)


def population(batches: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return E[x] and Var[x] of Algorithm 2, line 10, over batches of rows of one size m."""
    m = batches[0].shape[0]
    moments = [batch_moments(rows) for rows in batches]
    mean = sum(mu for mu, _ in moments) / len(batches)
    var = m / (m - 1) * sum(var for _, var in moments) / len(batches)
    return mean, var
