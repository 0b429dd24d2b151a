"""The kernels of `gpu.py` for few sequences, and for large groups.

The weights stay in the registers of a program: those of all rows of the group,
or of ROWS of them, where more would not fit. Then PARTS programs on as many
multiprocessors share a group, and at each tick give each other what they have
computed, by way of the memory. They are exact in float32, as no tensor core is,
and take less time than these as long as there are few sequences to a
multiprocessor.

BK is the group size K padded to a power of two. A matrix [ROWS, BK] and a
vector [BK] are in four pieces of BK / 4 columns each: so a thread has columns
of all four, and little is left to be added up between threads.

The state, or its gradient, is kept in float32 and, as in any matrix product,
multiplied in the dtype of the tensors.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import triton
import triton.language as tl

from speechbrain_cwrnn.sweep.gpu_cells import df, f, read, sigmoid


@triton.jit
def _read_matrix(weight, rows, K: tl.constexpr, BK: tl.constexpr):
    """Some rows of a matrix [K, K], in pieces."""
    Q: tl.constexpr = BK // 4
    j = tl.arange(0, Q)[None, :]
    weight += rows[:, None] * K + j
    inside = rows[:, None] < K
    return (
        read(weight, inside & (j < K)),
        read(weight + Q, inside & (Q + j < K)),
        read(weight + 2 * Q, inside & (2 * Q + j < K)),
        read(weight + 3 * Q, inside & (3 * Q + j < K)),
    )


@triton.jit
def _read_shared(pointer, inside):
    # Others have just written it: what this multiprocessor remembers is old.
    h = tl.load(pointer, mask=inside, other=0, cache_modifier=".cg")
    return h.to(tl.float32)


@triton.jit
def _read_vector(pointer, inside, K: tl.constexpr, BK: tl.constexpr):
    """A vector [K] that programs share, in pieces."""
    Q: tl.constexpr = BK // 4
    j = tl.arange(0, Q)
    pointer += j
    return (
        _read_shared(pointer, inside & (j < K)),
        _read_shared(pointer + Q, inside & (Q + j < K)),
        _read_shared(pointer + 2 * Q, inside & (2 * Q + j < K)),
        _read_shared(pointer + 3 * Q, inside & (3 * Q + j < K)),
    )


@triton.jit
def _cut(h, BK: tl.constexpr):
    """A vector [1, BK] in pieces."""
    h = tl.permute(tl.reshape(h, (4, BK // 4)), (1, 0))
    even, odd = tl.split(tl.reshape(h, (BK // 4, 2, 2)))
    h0, h2 = tl.split(even)
    h1, h3 = tl.split(odd)
    return h0, h1, h2, h3


@triton.jit
def _multiply(matrix, vector):
    """Their product, from the pieces of both."""
    product = matrix[0] * vector[0][None, :]
    product += matrix[1] * vector[1][None, :]
    product += matrix[2] * vector[2][None, :]
    product += matrix[3] * vector[3][None, :]
    return tl.sum(product, axis=1)


@triton.jit
def _read_ahead(pointer, step, inside, N, AHEAD: tl.constexpr):
    """What is needed at the first ticks."""
    first = read(pointer, inside & (N > 0))
    if AHEAD == 1:
        queue = (first,)
    else:
        queue = (
            first,
            read(pointer + step, inside & (N > 1)),
            read(pointer + 2 * step, inside & (N > 2)),
            read(pointer + 3 * step, inside & (N > 3)),
        )
    return queue


@triton.jit
def _take(queue, pointer, inside, AHEAD: tl.constexpr):
    """What is needed at a tick, and the queue, to which is added what will be
    needed AHEAD ticks later."""
    first, last = queue[0], read(pointer, inside)
    if AHEAD == 1:
        queue = (last,)
    else:
        queue = (queue[1], queue[2], queue[3], last)
    return first, queue


@triton.jit
def _meet(arrived, number):
    """Wait until so many programs have come here; all see what each wrote."""
    tl.debug_barrier()
    tl.atomic_add(arrived, 1, sem="release")
    while tl.atomic_add(arrived, 0, sem="acquire") < number:
        pass
    tl.debug_barrier()


# N, B and the number of blocks change between calls, and are no reason to
# compile anew.
@triton.jit(do_not_specialize=["N", "B", "blocks", "jobs"])
def forward_kernel(
    state,
    z,
    weight,
    mask,
    arrived,
    N,
    B,
    pitch,
    blocks,
    jobs,
    K: tl.constexpr,
    BB: tl.constexpr,
    BK: tl.constexpr,
    ROWS: tl.constexpr,
    PARTS: tl.constexpr,
    AHEAD: tl.constexpr,
    NONLINEARITY: tl.constexpr,
    GATED: tl.constexpr,
):
    """h[n] = f(z[n] + h[n-1] @ weight^T), or what a gated cell makes of both

    The state is h[-1], then anything, and becomes h[-1], h[0], ...; where the
    cell is gated, z becomes f(...) and the gates. Of jobs blocks of sequences,
    in all replicas, programs that share a group take one after the other.
    """
    C: tl.constexpr = 2 if GATED else 1
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    places = 1 + N.to(tl.int64)
    met = 0
    for job in range(tl.program_id(0), jobs, tl.num_programs(0)):
        replica = (job // blocks).to(tl.int64)
        first = job % blocks * BB
        w = _read_matrix(weight + replica * (C * K * K), rows, K, BK)
        b = (first + tl.arange(0, BB)[:, None]).to(tl.int64)
        i = rows[None, :]
        inside = (b < B) & (i < K)
        own = replica * B + b
        h_out = state + own * places * K + i
        zs = z + replica * pitch + b * N * (C * K) + i
        queue = _read_ahead(zs, C * K, inside, N, AHEAD)
        if GATED:
            w_gate = _read_matrix(
                weight + replica * (C * K * K) + K * K, rows, K, BK
            )
            gates = _read_ahead(zs + K, C * K, inside, N, AHEAD)
            m = 1.0
            if mask is not None:
                m = read(mask + own * K + i, inside)
        held = read(h_out, inside)
        h = held
        h_in = state + (replica * B + first) * places * K
        # Unrolled, so that no register is moved as the queue is: to move what
        # is still on its way would be to wait for it.
        for start in range(0, N, AHEAD):
            for ahead in tl.static_range(AHEAD):
                n = start + ahead
                now = inside & (n < N)
                later = inside & (n + AHEAD < N)
                a, queue = _take(queue, zs + AHEAD * C * K, later, AHEAD)
                if GATED:
                    a_gate, gates = _take(
                        gates, zs + AHEAD * C * K + K, later, AHEAD
                    )
                if PARTS == 1:
                    vector = _cut(h, BK)
                    a += _multiply(w, vector)[None, :]
                    if GATED:
                        a_gate += _multiply(w_gate, vector)[None, :]
                else:
                    for s in tl.static_range(BB):
                        vector = _read_vector(
                            h_in + s * places * K, first + s < B, K, BK
                        )
                        here = b == first + s
                        received = _multiply(w, vector)[None, :]
                        a += tl.where(here, received, 0)
                        if GATED:
                            received = _multiply(w_gate, vector)[None, :]
                            a_gate += tl.where(here, received, 0)
                new = f(a, NONLINEARITY)
                if GATED:
                    u = sigmoid(a_gate)
                    tl.store(zs, new.to(z.dtype.element_ty), mask=now)
                    tl.store(zs + K, u.to(z.dtype.element_ty), mask=now)
                    # In this form, a gate of one holds the state exactly.
                    new = u * held + (1 - u) * (m * new)
                if BK != K:
                    # Infinity times the zeros around the weights is not zero.
                    new = tl.where(i < K, new, 0)
                held = new
                rounded = new.to(state.dtype.element_ty)
                h = rounded.to(tl.float32)
                h_out += K
                tl.store(h_out, rounded, mask=now)
                zs += C * K
                if PARTS > 1:
                    h_in += K
                    if n + 1 < N:
                        met += PARTS
                        _meet(arrived + tl.program_id(0), met)


@triton.jit(do_not_specialize=["N", "B", "blocks", "jobs"])
def backward_kernel(
    state,
    z,
    dstate,
    dz,
    weight,
    mask,
    arrived,
    N,
    B,
    pitch,
    blocks,
    jobs,
    K: tl.constexpr,
    BB: tl.constexpr,
    BK: tl.constexpr,
    ROWS: tl.constexpr,
    PARTS: tl.constexpr,
    AHEAD: tl.constexpr,
    NONLINEARITY: tl.constexpr,
    GATED: tl.constexpr,
):
    """dz[n] = f'(h[n]) * (ds[n+1] + dz[n+1] @ weight), or that of a gated cell

    dstate is ds[0], ds[1], ..., whose first becomes dh0; dz becomes 0, dz[0],
    dz[1], ...; weight is transposed.
    """
    C: tl.constexpr = 2 if GATED else 1
    dtype: tl.constexpr = dz.dtype.element_ty
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    places = 1 + N.to(tl.int64)
    met = 0
    for job in range(tl.program_id(0), jobs, tl.num_programs(0)):
        replica = (job // blocks).to(tl.int64)
        first = job % blocks * BB
        w = _read_matrix(weight + replica * (C * K * K), rows, K, BK)
        b = (first + tl.arange(0, BB)[:, None]).to(tl.int64)
        i = rows[None, :]
        inside = (b < B) & (i < K)
        own = replica * B + b
        start_of = own * places
        last = start_of + N
        dz_out = dz + last * (C * K) + i
        dz_in = dz + ((replica * B + first) * places + N) * (C * K)
        # What a tick left, that is the state or, of a gated cell, the state
        # before, the candidates and the gates.
        left = state + (last - C + 1) * K + i
        lefts = _read_ahead(left, -K, inside, N, AHEAD)
        ds = dstate + (last - 1) * K + i
        sums = _read_ahead(ds, -K, inside, N, AHEAD)
        if GATED:
            w_gate = _read_matrix(
                weight + replica * (C * K * K) + K * K, rows, K, BK
            )
            zs = z + replica * pitch + ((b + 1) * N - 1) * (C * K) + i
            candidates = _read_ahead(zs, -C * K, inside, N, AHEAD)
            gates = _read_ahead(zs + K, -C * K, inside, N, AHEAD)
            m = 1.0
            if mask is not None:
                m = read(mask + own * K + i, inside)
        dh = read(dstate + last * K + i, inside)
        for start in range(0, N, AHEAD):
            for ahead in tl.static_range(AHEAD):
                n = start + ahead
                now = inside & (n < N)
                later = inside & (n + AHEAD < N)
                y, lefts = _take(lefts, left - AHEAD * K, later, AHEAD)
                before, sums = _take(sums, ds - AHEAD * K, later, AHEAD)
                if GATED:
                    c, candidates = _take(
                        candidates, zs - AHEAD * C * K, later, AHEAD
                    )
                    u, gates = _take(
                        gates, zs - AHEAD * C * K + K, later, AHEAD
                    )
                    zs -= C * K
                    dc = df(dh * (1 - u) * m, c, NONLINEARITY).to(dtype)
                    du = (dh * (y - m * c) * u * (1 - u)).to(dtype)
                    tl.store(dz_out + K, du, mask=now)
                    before += u * dh
                else:
                    dc = df(dh, y, NONLINEARITY).to(dtype)
                tl.store(dz_out, dc, mask=now)
                if PARTS == 1:
                    vector = _cut(dc.to(tl.float32), BK)
                    before += _multiply(w, vector)[None, :]
                    if GATED:
                        vector = _cut(du.to(tl.float32), BK)
                        before += _multiply(w_gate, vector)[None, :]
                else:
                    met += PARTS
                    _meet(arrived + tl.program_id(0), met)
                    for s in tl.static_range(BB):
                        pointer = dz_in + s * places * (C * K)
                        there = first + s < B
                        vector = _read_vector(pointer, there, K, BK)
                        received = _multiply(w, vector)
                        if GATED:
                            vector = _read_vector(pointer + K, there, K, BK)
                            received += _multiply(w_gate, vector)
                        here = b == first + s
                        before += tl.where(here, received[None, :], 0)
                if BK != K:
                    # Infinity times the zeros around the weights is not zero.
                    before = tl.where(i < K, before, 0)
                dh = tl.where(n < N, before, dh)
                left -= K
                ds -= K
                dz_out -= C * K
                dz_in -= C * K
        tl.store(dstate + start_of * K + i, dh.to(dtype), mask=inside)
        # The initial state is no tick's.
        zero = tl.full((BB, ROWS), 0, dtype)
        for row in tl.static_range(C):
            pointer = dz + start_of * (C * K) + row * K + i
            tl.store(pointer, zero, mask=inside)
